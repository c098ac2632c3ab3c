# --- nft ---

nft_family() { if [[ $1 == 6 ]]; then REPLY=ip6; else REPLY=ip; fi; }

# The text of our table for family $1, in nft's own layout but for white space.
nft_render() {
  local kind
  nft_family "$1"
  CHAIN_TEXT="table $REPLY peermasq {"$'\n'
  for kind in exempt masquerade; do
    [[ ${FORM[$kind $1]} == list ]] || nft_set "$kind" "$1"
  done
  # Before the chain of iptables-nft (srcnat, 100): the first chain that rewrites the source wins.
  CHAIN_TEXT+=$'chain postrouting {\ntype nat hook postrouting priority 99; policy accept;\n'
  each_exemption nft_exemption "$1"
  each_masquerade_rule nft_masquerade "$1"
  CHAIN_TEXT+=$'}\n}\n'
}

nft_set() {
  local name=destinations elements
  [[ $1 == exempt ]] && name=exemptions
  outermost "$1" "$2"
  printf -v elements '%s, ' "${OUTERMOST[@]}"
  CHAIN_TEXT+="set $name {"$'\n'"type ipv$2_addr"$'\nflags interval\n'"elements = { ${elements%, } }"$'\n}\n'
}

# OUTERMOST: the ranges of kind $1 and family $2 that lie in no other, sorted: nft refuses overlaps, and merging
# them would print other text than was written.
outermost() {
  local i length='' hi=0 lo=0
  positions "$1" "$2"
  for i in $REPLY; do printf '%016x%016x %d %d\n' "${HIS[i]}" "${LOS[i]}" "${LENS[i]}" "$i"; done | sort >"$WORK/ranges"
  OUTERMOST=()
  while read -r _ _ i; do
    [[ -n $length ]] && ((hi == (HIS[i] & MASK_HI[length]) && lo == (LOS[i] & MASK_LO[length]))) && continue
    length=${LENS[i]} hi=${HIS[i]} lo=${LOS[i]}
    range_text "$i" && OUTERMOST+=("$REPLY")
  done <"$WORK/ranges"
}

nft_exemption() {
  local range=@exemptions
  [[ -n $2 ]] && range_text "$2" && range=$REPLY
  nft_family "$1"
  CHAIN_TEXT+="$REPLY daddr $range return comment \"peermasq: $3\""$'\n'
}

nft_masquerade() {
  local source='' range=@destinations
  [[ -n $2 ]] && range_text "$2" && source=$REPLY
  [[ -n $3 ]] && range_text "$3" && range=$REPLY
  nft_family "$1"
  CHAIN_TEXT+="${source:+$REPLY saddr $source }$REPLY daddr $range ${OUT:+oifname \"$OUT\" }fib daddr type != local"
  CHAIN_TEXT+=" counter masquerade${RANDOM_FULLY:+ fully-random} comment \"peermasq: $4\""$'\n'
}

# CHAIN: our table of family $1 as the kernel has it, one space between words and without counts. Fails if there is none.
nft_read() {
  local line counter='^(.*) counter packets ([0-9]+) bytes [0-9]+ (.*)$'
  CHAIN='' && nft_family "$1"
  has nft && nft list table "$REPLY" peermasq >"$WORK/table" 2>/dev/null || return 1
  while read -r line; do
    if [[ $line =~ $counter ]]; then
      PACKETS=$((PACKETS + BASH_REMATCH[2]))
      line="${BASH_REMATCH[1]} counter ${BASH_REMATCH[3]}"
    fi
    if [[ $line == *' comment "peermasq: '* ]]; then RULES=$((RULES + 1)); fi
    CHAIN+=${line/priority srcnat - 1/priority 99}$'\n'
  done <"$WORK/table"
  CHAIN=$(printf '%s' "$CHAIN" | tr -s '[:space:]' ' ')
}

nft_observe() {
  local family=$1 kind note=''
  [[ $family == 6 ]] && note=' (IPv6)'
  if ! nft_read "$family"; then
    ! concerns "$family" || DRIFT+=("table missing$note")
  elif ! concerns "$family"; then
    DRIFT+=("table not wanted$note")
  else
    nft_render "$family"
    [[ $CHAIN == "$(printf '%s' "$CHAIN_TEXT" | tr -s '[:space:]' ' ')" ]] || DRIFT+=("table differs$note")
  fi
}

# Both families in one transaction: nft applies it whole or not at all.
nft_change() {
  local family
  : >"$WORK/transaction"
  for family in 4 6; do
    if concerns "$family" || nft_read "$family"; then
      nft_family "$family"
      printf 'add table %s peermasq\ndelete table %s peermasq\n' "$REPLY" "$REPLY" >>"$WORK/transaction"
    fi
    ! concerns "$family" || { nft_render "$family" && printf '%s' "$CHAIN_TEXT" >>"$WORK/transaction"; }
  done
  nft -f "$WORK/transaction" >/dev/null 2>"$WORK/errors" && return
  FAULT="nft: $(head -n 1 "$WORK/errors")"
  return 3
}

# Adds the tables of nft that rewrite sources. Those of iptables-nft are read through iptables.
nft_masqueraders() {
  local line table='' chain=''
  has nft || return 0
  nft -t list ruleset >"$WORK/table" 2>/dev/null || return 0
  while read -r line; do
    case $line in
      'table '*) line=${line#table } && table=${line% \{} ;;
      'chain '*) line=${line#chain } && chain=${line% \{} ;;
      *masquerade* | *'snat to'* | *'snat ip'*)
        [[ $table == *' peermasq' || $table == ip*' nat' ]] || add_masquerader "nft: $table $chain"
        ;;
    esac
  done <"$WORK/table"
}

