# --- Patterns for ranges ---
# A connection is found among thousands by comparing text in a single process, not by parsing each address.

# The length at which a pattern is given up, because programs take long to compile it.
readonly max_pattern_length=4000
# A pattern that matches every address.
readonly any_address='[^ ]'

# PATTERNS: alternatives of an extended regular expression for the text of addresses, each followed by "|". RANGES: ranges,
# each "FAMILY LENGTH HI LO".
PATTERNS='' RANGES=()

# <indices>: sets RANGES to these ranges, and REPLY to the smallest range that contains them, which is empty if only the
# range of all addresses does. PATTERNS matches every address in RANGES, and maybe others.
summarize_ranges() {
  local range
  condense_ranges "$1"
  PATTERNS=''
  for range in ${RANGES[@]+"${RANGES[@]}"}; do
    read -r FAMILY LENGTH HI LO <<<"$range"
    range_pattern
    PATTERNS+=$REPLY
    ((${#PATTERNS} <= max_pattern_length)) || break
  done
  if ((${#PATTERNS} > max_pattern_length || ${#RANGES[@]} == 0)); then PATTERNS="$any_address|"; fi
  common_range
}

# <indices>: sets RANGES. Many ranges become few: those with the same first half (IPv6: quarter) of the address are one.
condense_ranges() {
  local i key=-1 limit=128
  local -A seen=()
  RANGES=()
  # shellcheck disable=SC2086 # split on purpose
  set -- $1
  if (($# > set_threshold)); then limit=$((FAMILIES[$1] == 4 ? 16 : 32)); fi
  for i in "$@"; do
    # Mostly, ranges are in order.
    if ((LENS[i] > limit && HIS[i] >> (64 - limit) == key)); then continue; fi
    if ((LENS[i] <= limit)); then
      RANGES+=("${FAMILIES[i]} ${LENS[i]} ${HIS[i]} ${LOS[i]}")
      continue
    fi
    key=$((HIS[i] >> (64 - limit)))
    [[ -z ${seen[$key]:-} ]] || continue
    seen[$key]=yes
    RANGES+=("${FAMILIES[i]} $limit $((key << (64 - limit))) 0")
  done
}

# REPLY: the smallest range that contains RANGES, or empty if only the range of all addresses does.
common_range() {
  local range length hi lo other_hi=0 other_lo=0
  REPLY=''
  ((${#RANGES[@]} > 0)) || return 0
  read -r FAMILY LENGTH HI LO <<<"${RANGES[0]}"
  for range in "${RANGES[@]}"; do
    read -r _ length hi lo <<<"$range"
    ((other_hi |= HI ^ hi, other_lo |= LO ^ lo))
    if ((length < LENGTH)); then LENGTH=$length; fi
  done
  while (((other_hi & MASK_HI[LENGTH]) != 0 || (other_lo & MASK_LO[LENGTH]) != 0)); do LENGTH=$((LENGTH - 1)); done
  ((LENGTH > 0)) || return 0
  range_of_address
}

# <indices>: PATTERNS matches no address outside these ranges, but maybe not all inside.
exempt_patterns() {
  local i
  PATTERNS=''
  for i in $1; do
    FAMILY=${FAMILIES[i]} HI=${HIS[i]} LO=${LOS[i]} LENGTH=${LENS[i]}
    range_pattern || continue
    ((${#PATTERNS} + ${#REPLY} <= max_pattern_length)) || break
    PATTERNS+=$REPLY
  done
}

# REPLY: alternatives like PATTERNS for the range FAMILY, HI, LO, LENGTH. Fails if they match other addresses too.
range_pattern() {
  local i part text='' end='\.' whole=$((LENGTH / 8))
  if ((LENGTH == (FAMILY == 4 ? 32 : 128))); then
    print_address
    REPLY="${REPLY//./\\.} |"
    return 0
  fi
  if ((FAMILY == 6)); then
    ipv6_pattern
    return
  fi
  for ((i = 0; i < whole; i++)); do text+="$((HI >> (56 - 8 * i) & 255))\\."; done
  REPLY="$text|"
  ((LENGTH % 8 != 0)) || return 0
  REPLY='' part=$((HI >> (56 - 8 * whole) & 255))
  if ((whole == 3)); then end=' '; fi
  for ((i = 0; i < 1 << (8 - LENGTH % 8); i++)); do REPLY+="$text$((part + i))$end|"; done
}

# Like range_pattern, for an IPv6 range. Its pattern ends where the text of an address may leave out zeros.
ipv6_pattern() {
  local i part text=''
  for ((i = 0; i < LENGTH / 16; i++)); do
    part=$(((i < 4 ? HI : LO) >> (48 - 16 * (i % 4)) & 65535))
    ((part != 0)) || break
    printf -v part '%x:' "$part"
    text+=$part
  done
  REPLY="${text:-$any_address}|"
  ((16 * i == LENGTH))
}

# REPLY: the range with prefix length LENGTH that contains the address FAMILY, HI, LO, which becomes its first address.
range_of_address() {
  HI=$((HI & MASK_HI[LENGTH])) LO=$((LO & MASK_LO[LENGTH]))
  print_address
  REPLY+=/$LENGTH
}
