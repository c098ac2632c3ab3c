# --- nft ---

# <family>: REPLY is the name of the family in nft.
nft_family() { if [[ $1 == 6 ]]; then REPLY=ip6; else REPLY=ip; fi; }

# <family>: REPLY is our table in the form that nft prints, except for white space.
nft_render() {
  local kind text
  nft_family "$1"
  text="table $REPLY peermasq {"$'\n'
  for kind in exempt masquerade; do
    [[ ${FORM[$kind $1]} == set ]] || continue
    nft_set "$kind" "$1"
    text+=$REPLY
  done
  if [[ $BACKEND == nft ]]; then nft_masquerading "$1"; fi
  if [[ -n ${STEERED[$1]} ]]; then nft_steering "$1"; fi
  REPLY=$text$'}\n'
}

# <family>: does the rule set have rules in our table? If iptables masquerades, the table only steers.
nft_uses_family() {
  if [[ $BACKEND == nft ]]; then uses_family "$1"; else [[ -n ${STEERED[$1]} ]] && steers_with_nft; fi
}

# <family>: appends the chain that masquerades to the caller's `text`.
nft_masquerading() {
  local device
  # With this priority, the chain runs before that of iptables-nft (srcnat, 100): the first chain that rewrites the
  # source wins.
  text+=$'chain postrouting {\ntype nat hook postrouting priority 99; policy accept;\n'
  for device in ${SPARED[$1]}; do
    text+="oifname \"${device/%+/*}\" return comment \"peermasq: $spared_note\""$'\n'
  done
  each_exemption nft_exemption "$1"
  each_masquerade_rule nft_masquerade "$1"
  text+=$'}\n'
}

# <family>: appends the chains that steer to the caller's `text`.
nft_steering() {
  # With this priority, the chain runs after all chains that translate destinations (-100) or set marks (iptables: -150,
  # the VPC CNI: -90). Replies keep their path, and so do connections whose first packet was not masqueraded.
  text+=$'chain prerouting {\ntype filter hook prerouting priority 0; policy accept;\n'
  text+=$'ct direction original ct state new jump steer\nct direction original ct status snat jump steer\n}\n'
  text+=$'chain steer {\n'
  each_exemption nft_exemption "$1"
  each_masquerade_rule nft_steer "$1"
  text+=$'}\n'
}

# <kind> <family>: REPLY is the text of the set.
nft_set() {
  local name=destinations
  if [[ $1 == exempt ]]; then name=exemptions; fi
  outermost_ranges "$1" "$2"
  REPLY="set $name {"$'\n'"type ipv$2_addr"$'\nflags interval\n'"elements = { $REPLY }"$'\n}\n'
}

# <kind> <family>: REPLY is the ranges that are not inside another range, sorted. nft rejects overlapping ranges. The
# option to merge them is not used, because nft would then print a text that differs from the one that was written.
outermost_ranges() {
  local i indices list='' length='' hi=0 lo=0
  indices_of "$1" "$2"
  indices=$REPLY
  for i in $indices; do
    printf '%016x%016x %d %d\n' "${HIS[i]}" "${LOS[i]}" "${LENS[i]}" "$i"
  done | sort >"$WORK/ranges"
  while read -r _ _ i; do
    if [[ -n $length ]] && ((hi == (HIS[i] & MASK_HI[length]) && lo == (LOS[i] & MASK_LO[length]))); then continue; fi
    length=${LENS[i]} hi=${HIS[i]} lo=${LOS[i]}
    range_text "$i"
    list+="${list:+, }$REPLY"
  done <"$WORK/ranges"
  REPLY=$list
}

# <family> <index> <name>: appends an exemption to the caller's `text`.
nft_exemption() {
  local range=@exemptions
  if [[ -n $2 ]]; then
    range_text "$2"
    range=$REPLY
  fi
  nft_family "$1"
  text+="$REPLY daddr $range return comment \"peermasq: $3\""$'\n'
}

# <family> <source> <destination> <name>: appends a masquerade rule to the caller's `text`.
nft_masquerade() {
  nft_match "$@"
  text+="$REPLY ${OUT:+oifname \"$OUT\" }fib daddr type != local"
  text+=" counter masquerade${RANDOM_FULLY:+ fully-random} comment \"peermasq: $4\""$'\n'
}

# <family> <source> <destination> <name>: appends a steering rule to the caller's `text`.
nft_steer() {
  nft_match "$@"
  text+="$REPLY meta mark set meta mark | 0x0000${steer_mark#*/0x} comment \"peermasq: $4\""$'\n'
}

# <family> <source> <destination>: REPLY is the match on the source and the destination.
nft_match() {
  local source='' range=@destinations
  if [[ -n $2 ]]; then
    range_text "$2"
    source=$REPLY
  fi
  if [[ -n $3 ]]; then
    range_text "$3"
    range=$REPLY
  fi
  nft_family "$1"
  REPLY="${source:+$REPLY saddr $source }$REPLY daddr $range"
}

# Our table without counters, as nft last printed it.
LISTED=''

# <family>: reads our table into LISTED. REPLY is the same text with single spaces. Fails if the table does not exist.
nft_read() {
  local line counter='^(.*) counter packets [0-9]+ bytes [0-9]+ (.*)$'
  has nft || return 1
  lacks_nft_table "$1" peermasq && return 1
  nft_family "$1"
  nft list table "$REPLY" peermasq >"$WORK/table" 2>/dev/null || return 1
  LISTED=''
  while read -r line; do
    if [[ $line =~ $counter ]]; then line="${BASH_REMATCH[1]} counter ${BASH_REMATCH[2]}"; fi
    # Only newer versions of nft print priorities by name, so names are replaced with numbers.
    line=${line/priority srcnat - 1/priority 99}
    LISTED+=${line/priority filter/priority 0}$'\n'
  done <"$WORK/table"
  space_evenly "$LISTED"
}

# <text>: REPLY is the text with single spaces.
space_evenly() {
  # shellcheck disable=SC2086 # split on purpose; set -f keeps the words as they are
  set -- $1
  REPLY=$*
}

# Adds the number of rules that nft_read found to RULES, and the number of packets that they masqueraded to PACKETS.
nft_count() {
  local line counter=' counter packets ([0-9]+) bytes '
  while read -r line; do
    if [[ $line == *' comment "peermasq: '* ]]; then RULES=$((RULES + 1)); fi
    if [[ $line =~ $counter ]]; then PACKETS=$((PACKETS + BASH_REMATCH[1])); fi
  done <"$WORK/table"
}

# <family>: compares our table in the kernel with the rule set, and adds differences to DRIFT.
nft_observe() {
  local family=$1 note='' found
  if [[ $BACKEND != nft ]]; then note=' for steering'; fi
  if [[ $family == 6 ]]; then note+=' (IPv6)'; fi
  if ! nft_read "$family"; then
    if nft_uses_family "$family"; then DRIFT+=("table missing$note"); fi
    return
  fi
  found=$REPLY
  nft_count
  if ! nft_uses_family "$family"; then
    DRIFT+=("unexpected table$note")
    return
  fi
  nft_render "$family"
  space_evenly "$REPLY"
  if [[ $found != "$REPLY" ]]; then DRIFT+=("table differs$note"); fi
}

# Applies the rule set to both families in one transaction, which nft applies either completely or not at all. Fails
# with ERROR and code 3.
nft_apply() {
  nft_write_transaction nft_empty
  [[ -s $WORK/transaction ]] || return 0
  run nft -f "$WORK/transaction" && return
  # The kernel refuses to change the type of an existing set or chain, so in that case the table is deleted first.
  nft_write_transaction nft_delete
  run nft -f "$WORK/transaction" && return
  command_error nft
  return 3
}

# <function>: writes the transaction. For a table that already exists, calls the function to write the commands that
# empty or delete it.
nft_write_transaction() {
  local family text
  : >"$WORK/transaction"
  for family in 4 6; do
    text=''
    if nft_uses_family "$family"; then
      nft_render "$family"
      text=$REPLY
    fi
    if nft_read "$family"; then "$1" "$family" "$text"; fi
    printf '%s' "$text" >>"$WORK/transaction"
  done
}

# <family> <text>: empties the table that nft_read found or, if it differs from the text in more than rules and
# elements, deletes it. Emptying is safer: while a transaction deletes a set, a packet may match neither the old nor the
# new elements (measured: 86 of 800,000 packets). While a transaction replaces the elements, this does not happen (none
# of 930,000).
nft_empty() {
  local found line
  nft_outline "$LISTED"
  found=$REPLY
  nft_outline "$2"
  if [[ $found != "$REPLY" ]]; then
    nft_delete "$1"
    return
  fi
  nft_family "$1"
  printf 'flush table %s peermasq\n' "$REPLY" >>"$WORK/transaction"
  while read -r line; do
    if [[ $line == 'set '* ]]; then printf 'flush set %s peermasq %s\n' "$REPLY" "${line:4:-2}"; fi
  done <<<"$found" >>"$WORK/transaction"
}

# <text>: REPLY is the text of the table without rules and elements, in the order in which nft prints it.
nft_outline() {
  local line block=''
  REPLY=''
  while read -r line; do
    case $block:$line in
      'set:elements = {'*)
        if [[ $line != *'}' ]]; then block=elements; fi
        ;;
      elements:*)
        if [[ $line == *'}' ]]; then block='set'; fi
        ;;
      *:*' {')
        block=${line%% *} REPLY+=$line$'\n'
        ;;
      chain:type* | chain:'}') REPLY+=$line$'\n' ;;
      *: | chain:*) ;;
      *) REPLY+=$line$'\n' ;;
    esac
  done <<<"$1"
}

# <family>
nft_delete() {
  nft_family "$1"
  printf 'delete table %s peermasq\n' "$REPLY" >>"$WORK/transaction"
}

# Removes our tables of both families in one transaction. Fails with ERROR and code 3.
nft_remove() {
  local family
  : >"$WORK/transaction"
  for family in 4 6; do
    nft_read "$family" || continue
    REMOVED=yes
    nft_delete "$family"
  done
  [[ -s $WORK/transaction ]] || return 0
  run nft -f "$WORK/transaction" && return
  command_error nft
  return 3
}

# Adds to MASQUERADERS the nft tables that rewrite source addresses. The tables of iptables-nft are read with iptables
# instead.
nft_masqueraders() {
  local line table='' chain=''
  has nft || return 0
  nft -t list ruleset >"$WORK/table" 2>/dev/null || return 0
  while read -r line; do
    case $line in
      'table '*)
        line=${line#table }
        table=${line% \{}
        ;;
      'chain '*)
        line=${line#chain }
        chain=${line% \{}
        ;;
      *masquerade* | *'snat to'* | *'snat ip'*)
        if [[ $table != *' peermasq' && $table != ip*' nat' ]]; then add_masquerader "nft: $table $chain"; fi
        ;;
    esac
  done <"$WORK/table"
}
