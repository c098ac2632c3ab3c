# --- Lookups in the rule set ---

# Filled by add_range: the ranges, and the prefix lengths that occur for each "KIND FAMILY".
declare -A INDEX=() LENGTHS=()
# The first range inside each range of a prefix length, by "KIND FAMILY LENGTH HI LO". Filled by index_inside, once for each
# "KIND FAMILY LENGTH" in INDEXED.
declare -A INSIDE=() INDEXED=()
# By "KIND FAMILY": the indices of the ranges, and the number of ranges when they were grouped.
declare -A INDICES=()
GROUPED=0
# The prefix length of the range that contains_address found.
MATCHED=0
# FORM[KIND FAMILY] is "list" (a rule for each range) or "set" (one rule, with the ranges in a set).
declare -A FORM=()

# <kind>: is the address FAMILY, HI, LO in a range of this kind? If so, MATCHED is the prefix length of that range.
contains_address() {
  for MATCHED in ${LENGTHS["$1 $FAMILY"]:-}; do
    [[ -n ${INDEX["$1 $FAMILY $MATCHED $((HI & MASK_HI[MATCHED])) $((LO & MASK_LO[MATCHED]))"]:-} ]] && return 0
  done
  return 1
}

# <kind>: does a range of this kind overlap the range FAMILY, HI, LO, LENGTH? REPLY is the index of a range of this kind
# inside the given range, or empty if a range of this kind contains the whole given range.
overlaps() {
  local length longest=0
  REPLY=''
  contains_address "$1" && ((MATCHED <= LENGTH)) && return 0
  for length in ${LENGTHS["$1 $FAMILY"]:-}; do
    if ((length > longest)); then longest=$length; fi
  done
  # Only a range with a longer prefix can be inside the given range.
  ((longest > LENGTH)) || return 1
  index_inside "$1"
  REPLY=${INSIDE["$1 $FAMILY $LENGTH $HI $LO"]:-}
  [[ -n $REPLY ]]
}

# <kind>: fills INSIDE for ranges of the family FAMILY and the prefix length LENGTH. Most nodes have routes of few lengths.
index_inside() {
  local i key last='' prefix="$1 $FAMILY $LENGTH" mask_hi=${MASK_HI[LENGTH]} mask_lo=${MASK_LO[LENGTH]}
  [[ -z ${INDEXED[$prefix]:-} ]] || return 0
  INDEXED[$prefix]=yes
  indices_of "$1" "$FAMILY"
  for i in $REPLY; do
    ((LENS[i] > LENGTH)) || continue
    key="$((HIS[i] & mask_hi)) $((LOS[i] & mask_lo))"
    # Mostly, ranges are in order.
    if [[ $key == "$last" || -n ${INSIDE[$prefix $key]:-} ]]; then continue; fi
    INSIDE[$prefix $key]=$i last=$key
  done
}

# REPLY: an address in the range FAMILY, HI, LO, LENGTH that is not exempt. Fails if it finds none.
address_in_range() {
  local hi=$HI lo=$LO length=$LENGTH attempt
  # The network address is skipped, because some systems treat it as a broadcast address.
  if ((FAMILY == 4 && length < 31)); then
    HI=$((HI + (1 << 32)))
  elif ((FAMILY == 6 && length < 127)); then
    LO=$((LO + 1))
  fi
  for ((attempt = 0; attempt < 16; attempt++)); do
    (((HI & MASK_HI[length]) == hi && (LO & MASK_LO[length]) == lo)) || return 1
    if ! contains_address exempt; then
      print_address
      return 0
    fi
    # Continue with the first address after the exempt range.
    if ((MATCHED <= 64)); then
      HI=$(((HI & MASK_HI[MATCHED]) + (MATCHED == 0 ? 0 : 1 << (64 - MATCHED)))) LO=0
    else
      LO=$(((LO & MASK_LO[MATCHED]) + (1 << (128 - MATCHED))))
    fi
  done
  return 1
}

has_sources() { [[ -n ${COUNT[source 4]:-}${COUNT[source 6]:-} ]]; }

# In a rule set without source lines, every address is a source.
is_source() { ! has_sources || contains_address source; }

# <family>: does the rule set have rules for this family? Always true for IPv4, where an empty chain shows that a rule
# set is in force.
uses_family() { [[ $1 == 4 || -n "${COUNT[source 6]:-}${COUNT[exempt 6]:-}${COUNT[masquerade 6]:-}" ]]; }

# <kind> <family>: REPLY is the indices of the lines of this kind and family.
indices_of() {
  if ((GROUPED != ${#KINDS[@]})); then group_indices; fi
  REPLY=${INDICES["$1 $2"]:-}
}

# Sets INDICES in one pass. The entries are appended to arrays, because appending to a text becomes slower as the text
# grows.
group_indices() {
  local i source4=() source6=() exempt4=() exempt6=() masquerade4=() masquerade6=()
  for i in "${!KINDS[@]}"; do
    case ${KINDS[i]}${FAMILIES[i]} in
      source4) source4+=("$i") ;;
      source6) source6+=("$i") ;;
      exempt4) exempt4+=("$i") ;;
      exempt6) exempt6+=("$i") ;;
      masquerade4) masquerade4+=("$i") ;;
      masquerade6) masquerade6+=("$i") ;;
    esac
  done
  INDICES=(
    [source 4]="${source4[*]-}" [source 6]="${source6[*]-}" [exempt 4]="${exempt4[*]-}" [exempt 6]="${exempt6[*]-}"
    [masquerade 4]="${masquerade4[*]-}" [masquerade 6]="${masquerade6[*]-}"
  )
  GROUPED=${#KINDS[@]}
}

# <index>: REPLY is the range as ipset and nft print it: without the prefix length if it is a single address.
range_text() {
  REPLY=${CIDRS[$1]}
  if ((LENS[$1] == (FAMILIES[$1] == 4 ? 32 : 128))); then REPLY=${REPLY%/*}; fi
}

choose_forms() {
  local family kind sources rules
  for family in 4 6; do
    sources=${COUNT[source $family]:-0}
    for kind in exempt masquerade; do
      rules=${COUNT[$kind $family]:-0}
      if [[ $kind == masquerade ]] && ((sources > 1)); then rules=$((rules * sources)); fi
      FORM[$kind $family]=list
      if ((rules > set_threshold)); then FORM[$kind $family]='set'; fi
    done
  done
}

uses_sets() { [[ " ${FORM[*]} " == *' set '* ]]; }

use_lists() {
  local key
  for key in "${!FORM[@]}"; do FORM[$key]=list; done
}

# <function> <family>: calls <function> FAMILY SOURCE DESTINATION NAME for each masquerade rule. SOURCE and
# DESTINATION are indices. An empty SOURCE means any source; an empty DESTINATION means the set of all destinations.
each_masquerade_rule() {
  local emit=$1 family=$2 sources destinations source i
  indices_of source "$family"
  sources=$REPLY
  indices_of masquerade "$family"
  destinations=$REPLY
  [[ -n $destinations ]] || return 0
  if [[ -z $sources ]]; then
    has_sources && return 0
    sources=any
  fi
  for source in $sources; do
    source=${source#any}
    if [[ ${FORM[masquerade $family]} == set ]]; then
      "$emit" "$family" "$source" '' "${COUNT[masquerade $family]} destinations"
    else
      for i in $destinations; do "$emit" "$family" "$source" "$i" "${NAMES[i]}"; done
    fi
  done
}

# <function> <family>: calls <function> FAMILY INDEX NAME for each exemption. An empty INDEX means the set of all
# exemptions.
each_exemption() {
  local emit=$1 family=$2 i
  if [[ ${FORM[exempt $family]} == set ]]; then
    "$emit" "$family" '' "${COUNT[exempt $family]} exemptions"
    return
  fi
  indices_of exempt "$family"
  for i in $REPLY; do "$emit" "$family" "$i" "${NAMES[i]}"; done
}
