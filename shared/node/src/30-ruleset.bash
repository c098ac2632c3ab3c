# --- The rule set ---

# One entry per line that carries a CIDR, in order. COUNT is by "KIND FAMILY".
KINDS=() CIDRS=() NAMES=() FAMILIES=() HIS=() LOS=() LENS=() PROBES=()
declare -A COUNT=() INDEX=() LENGTHS=()
OUT='' RANDOM_FULLY='' RANK=0 FAULT=''

# Reads the rule set in file $1 (- is stdin) whole: the globals above, ID, GENERATION and $WORK/ruleset.
# Fails with FAULT; ID is set as soon as there is a text to take it from.
load() {
  local lines line number=0 masquerades
  unpack "$1" "$WORK/ruleset" && ruleset_id "$WORK/ruleset" && ID=$REPLY || return 1
  mapfile -t lines <"$WORK/ruleset"
  for line in "${lines[@]}"; do
    number=$((number + 1))
    if ! parse_line "$line" "$number"; then
      shorten "$line" 80
      FAULT="line $number: \"$REPLY\" $FAULT"
      return 1
    fi
  done
  FAULT='line 2: missing; accepted is: generation DIGITS' && [[ -n $GENERATION ]] || return 1
  line=$(sort "$WORK/ruleset" | uniq -d | head -n 1)
  FAULT="\"$line\" is there twice" && [[ -z $line ]] || return 1
  masquerades=$((${COUNT[masquerade 4]:-0} + ${COUNT[masquerade 6]:-0}))
  FAULT="$masquerades masquerade lines; accepted are $max_destinations"
  ((masquerades <= max_destinations)) || return 1
  warn_of_ruleset
}

# Copies $1 to $2 as plain text, whether it came as text or as gzip in base64. Fails with FAULT.
unpack() {
  local nulls last
  FAULT="cannot read $1"
  # Standard input may be a socket, which cannot be opened by a name.
  if [[ $1 == - ]]; then exec 3<&0; else { exec 3<"$1"; } 2>/dev/null || return 1; fi
  head -c $((max_bytes + 1)) <&3 >"$WORK/input" 2>/dev/null || return 1
  exec 3<&-
  # No plain text starts so, and every gzip does in base64.
  if [[ $(head -c 4 "$WORK/input" | tr -d '\0') == H4sI ]]; then
    FAULT='the input starts like gzip in base64, but is not'
    { base64 -d | gzip -dc | head -c $((max_bytes + 1)); } <"$WORK/input" >"$2" 2>/dev/null ||
      (($(wc -c <"$2") > max_bytes)) || return 1
  else
    cp "$WORK/input" "$2"
  fi
  FAULT="the input has more than $max_bytes bytes"
  (($(wc -c <"$2") <= max_bytes)) || return 1
  FAULT='the input has NUL bytes; accepted is ASCII text'
  nulls=$(tr -dc '\0' <"$2" | wc -c)
  ((nulls == 0)) || return 1
  FAULT='the input is empty or its last line has no LF at its end (cut off?)'
  last=$(tail -c 1 "$2" && printf x)
  [[ $last == $'\n'x ]]
}

# Takes line $1, which is number $2, into the globals. Fails with FAULT.
parse_line() {
  local line=$1 rank
  FAULT='is not accepted here; the first two lines are: peermasq/1, generation DIGITS'
  case $2 in
    1) [[ $line == peermasq/1 ]]; return ;;
    2) [[ $line =~ ^generation\ (0|[1-9][0-9]{0,15})$ ]] && GENERATION=${BASH_REMATCH[1]}; return ;;
  esac
  # shellcheck disable=SC2086 # as above
  set -- $line
  FAULT='is not a line of the grammar: option, source CIDR, exempt CIDR NAME, masquerade CIDR NAME, probe ADDRESS:PORT'
  [[ $line == "$*" ]] || return 1
  case $#${1-} in 2option | 3option) rank=3 ;; 2source) rank=5 ;; 3exempt) rank=6 ;; 3masquerade) rank=7 ;; 2probe) rank=8 ;; *) return 1 ;; esac
  FAULT='is out of order; accepted is: option, source, exempt, masquerade, probe'
  ((rank >= RANK)) && RANK=$rank || return 1
  case $1 in
    option) parse_option "${*:2}" ;;
    probe) parse_probe "$2" ;;
    *) parse_range "$1" "$2" "${3-}" ;;
  esac
}

parse_option() {
  FAULT='is not accepted; accepted are, once each: option random-fully, option out IFNAME'
  case $1 in
    random-fully) RANDOM_FULLY=yes ;;
    out\ *) [[ -z $OUT && ${1#out } =~ ^[A-Za-z0-9._-]{1,15}$ && ${1#out } != . && ${1#out } != .. ]] && OUT=${1#out } ;;
    *) return 1 ;;
  esac
}

parse_range() {
  FAULT='has a name that is not [A-Za-z0-9._:/@-]{1,63}'
  [[ $1 == source ]] || ((${#3} <= 63)) && [[ $3 != *[!A-Za-z0-9._:/@-]* ]] || return 1
  parse_cidr "$2" || return 1
  [[ $1 != masquerade ]] || may_be_destination || return 1
  KINDS+=("$1") CIDRS+=("$2") NAMES+=("$3") FAMILIES+=("$FAMILY") HIS+=("$HI") LOS+=("$LO") LENS+=("$LENGTH")
  COUNT["$1 $FAMILY"]=$((${COUNT["$1 $FAMILY"]:-0} + 1))
}

parse_probe() {
  FAULT='is not a probe; accepted are: probe IPV4:PORT, probe [IPV6]:PORT'
  [[ $1 =~ ^(([0-9.]+)|\[([0-9a-f:]+)\]):([1-9][0-9]{0,4})$ ]] || return 1
  ((BASH_REMATCH[4] <= 65535)) || return 1
  parse_address "${BASH_REMATCH[2]}${BASH_REMATCH[3]}" && PROBES+=("$1")
}

# REPLY: sha256 of all lines but the generation line.
ruleset_id() {
  REPLY=$({ head -n 1 -- "$1" && tail -n +3 -- "$1"; } | sha256sum) && REPLY=${REPLY%% *}
}

warn_of_ruleset() {
  local family other
  for family in 4 6; do
    other=$((10 - family))
    if ((${COUNT[masquerade $family]:-0} > 0 && ${COUNT[source $family]:-0} == 0 && ${COUNT[source $other]:-0} > 0)); then
      warn "no IPv$family source: the ${COUNT[masquerade $family]} IPv$family destinations are not masqueraded"
    fi
  done
  ((${#PROBES[@]} <= max_probes)) || warn "only the first $max_probes of ${#PROBES[@]} probes are run"
}

# Is the address FAMILY, HI, LO in a line of kind $1?
is_in() {
  local length
  ((${#INDEX[@]} > 0)) || make_index
  for length in ${LENGTHS["$1 $FAMILY"]:-}; do
    [[ -n ${INDEX["$1 $FAMILY $length $((HI & MASK_HI[length])) $((LO & MASK_LO[length]))"]:-} ]] && return 0
  done
  return 1
}

# One look-up for each length that occurs, however many the lines are.
make_index() {
  local i key
  INDEX[made]=yes
  for ((i = 0; i < ${#KINDS[@]}; i++)); do
    key="${KINDS[i]} ${FAMILIES[i]}"
    INDEX["$key ${LENS[i]} ${HIS[i]} ${LOS[i]}"]=yes
    [[ " ${LENGTHS[$key]:-} " == *" ${LENS[i]} "* ]] || LENGTHS[$key]="${LENGTHS[$key]:-} ${LENS[i]}"
  done
}

is_source() { [[ -z ${COUNT[source 4]:-}${COUNT[source 6]:-} ]] || is_in source; }

# Does the rule set have rules for the family? IPv4 always: its chain says that a rule set is in force.
concerns() { [[ $1 == 4 || -n "${COUNT[source 6]:-}${COUNT[exempt 6]:-}${COUNT[masquerade 6]:-}" ]]; }

# REPLY: the positions of the lines of kind $1 and family $2.
positions() {
  local i
  REPLY=''
  for ((i = 0; i < ${#KINDS[@]}; i++)); do
    [[ ${KINDS[i]} == "$1" && ${FAMILIES[i]} == "$2" ]] && REPLY+="$i "
  done
  return 0
}

# FORM[KIND FAMILY] is "list" (a rule for each range) or "set" (one rule, with the ranges in a set).
declare -A FORM=()
choose_forms() {
  local family kind sources rules
  for family in 4 6; do
    sources=${COUNT[source $family]:-0}
    for kind in exempt masquerade; do
      rules=${COUNT[$kind $family]:-0}
      [[ $kind == masquerade ]] && rules=$((rules * (sources > 1 ? sources : 1)))
      FORM[$kind $family]=list
      ((rules > set_threshold)) && FORM[$kind $family]='set'
    done
  done
}

uses_sets() { [[ " ${FORM[*]} " == *' set '* ]]; }

use_lists() {
  local key
  for key in "${!FORM[@]}"; do FORM[$key]=list; done
}

# Calls `$1 FAMILY SOURCE DESTINATION NAME` for each masquerade rule of family $2. SOURCE and DESTINATION are
# positions; '' means any source, and all destinations (in a set).
each_masquerade_rule() {
  local emit=$1 family=$2 sources destinations source i
  positions source "$family" && sources=$REPLY
  positions masquerade "$family" && destinations=$REPLY
  [[ -n $destinations ]] || return 0
  [[ -n $sources || -z ${COUNT[source 4]:-}${COUNT[source 6]:-} ]] || return 0
  for source in ${sources:-any}; do
    source=${source#any}
    if [[ ${FORM[masquerade $family]} == set ]]; then
      "$emit" "$family" "$source" '' "${COUNT[masquerade $family]} destinations"
    else
      for i in $destinations; do "$emit" "$family" "$source" "$i" "${NAMES[i]}"; done
    fi
  done
}

# Calls `$1 FAMILY EXEMPTION NAME` for each exemption of family $2, likewise.
each_exemption() {
  local emit=$1 family=$2 i
  if [[ ${FORM[exempt $family]} == set ]]; then
    "$emit" "$family" '' "${COUNT[exempt $family]} exemptions"
  else
    positions exempt "$family"
    for i in $REPLY; do "$emit" "$family" "$i" "${NAMES[i]}"; done
  fi
}

