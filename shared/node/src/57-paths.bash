# --- The paths of pods ---

# This section asks the kernel whether the rules apply to pods' packets. For each pod, each destination and each mark
# that a packet can carry, the kernel returns the interface through which the packet would leave. On that interface, our
# rule must give the packet a source address to which a peer can reply. The source addresses of packets that are not
# masqueraded are checked in the same way.

# The queries for one family: the pod, its interface ("-" if there is none), the index of the destination, and the
# mark.
ROWS=()
# By "POD DESTINATION": the address that the peer sees.
declare -A PATH_ADDRESS=()
# The pods that can send a probe, as "FAMILY NAMESPACE ADDRESS"; and by family, the interfaces through which pods'
# packets leave.
PROBING_PODS=()
declare -A EXPECTED_DEVICES=([4]='' [6]='')
# The number of pods that were found, the number of pods whose paths are all proven, and the addresses that only a probe
# can confirm.
PODS_FOUND=0 PODS_PROVEN=0 UNCONFIRMED='' PATHS_READ=''
readonly max_queries=4096 no_pods='no pods yet'

# Checks the paths of pods. Sets BASIS and PATHS. Sets CODE and REASON if a path cannot be proven.
prove_paths() {
  local family
  PATHS_READ=yes BASIS=() PATHS=() PODS_FOUND=0 PODS_PROVEN=0 UNCONFIRMED='' PATH_ADDRESS=() PROBING_PODS=()
  EXPECTED_DEVICES[4]='' EXPECTED_DEVICES[6]=''
  if ! has ip; then not_proven paths-unknown 'ip is not installed (package iproute2), so the paths of pods are not known'; fi
  if ! has nft && is_installed iptables-nft; then
    warn "nft is not installed (package nftables): rules in nft's own tables are not seen; a probe from a pod shows their effect"
  fi
  for family in 4 6; do
    read_family "$family" || continue
    prove_family "$family"
  done
  if ((PODS_FOUND > 0)); then
    BASIS+=("pods $PODS_PROVEN/$PODS_FOUND")
  elif ((${COUNT[masquerade 4]:-0} + ${COUNT[masquerade 6]:-0} > 0)); then
    BASIS+=("$no_pods")
  fi
  if [[ -n ${LEFT[4]} ]]; then BASIS+=('cni'); fi
}

# <code> <reason>: records a problem. Only the first problem is reported.
not_proven() {
  [[ -z $REASON ]] || return
  CODE=$1 REASON=$2
}

# <family> <reason>: records that packets leave with an address to which peers may be unable to reply. If this happens
# because packets cannot be steered, records that instead of the reason.
foreign_address() {
  if [[ -n ${STRICT[$1]} ]]; then
    not_proven rp-filter "pods' packets cannot be steered to ${STRICT[$1]}: its rp_filter is 1, so the kernel would drop the \
replies; set it to 2"
  else
    not_proven paths-foreign-address "$2"
  fi
}

# <family>
prove_family() {
  local i
  if ((${#DESTINATIONS[@]} == 0)); then return; fi
  for ((i = 0; i < ${#DESTINATIONS[@]}; i++)); do
    if [[ -z ${OWN_ADDRESSES[i]} ]]; then
      not_proven paths-unknown "the node itself has no route to ${DESTINATIONS[i]}"
      return
    fi
  done
  if (($1 == 6)) && [[ $(</proc/sys/net/ipv6/conf/all/forwarding) == 0 ]]; then
    not_proven no-forwarding 'the node does not forward IPv6 packets: net.ipv6.conf.all.forwarding is 0'
    return
  fi
  if may_bypass_steering "$1"; then
    not_proven steering-bypassed "install nft (package nftables): without it, pods' packets may not be steered, because \
of this rule in table mangle: $STOPPING"
  fi
  find_pods "$1"
  if ((${#POD_ADDRESSES[@]} == 0 || ${#PROBES[@]} > 0)); then find_namespaces "$1"; fi
  if ! find_marks "$1"; then
    not_proven paths-unknown "$ERROR"
    return
  fi
  if ! is_tracked "$1"; then
    not_proven paths-unknown "$ERROR"
    return
  fi
  make_rows "$1"
  check_rows "$1"
  add_probing_pods "$1"
  if ((PODS_FOUND == 0)); then check_interfaces_to_come "$1"; fi
}

# <family>: adds the pods that can send a probe. Pods whose own address needs confirmation come first.
add_probing_pods() {
  local i pod
  for ((i = 0; i < ${#POD_ADDRESSES[@]}; i++)); do
    [[ -n ${POD_NAMESPACES[i]} ]] || continue
    pod="$1 ${POD_NAMESPACES[i]} ${POD_ADDRESSES[i]}"
    if [[ " $UNCONFIRMED" == *" ${POD_ADDRESSES[i]}@"* ]]; then
      PROBING_PODS=("$pod" ${PROBING_PODS[@]+"${PROBING_PODS[@]}"})
    else
      PROBING_PODS+=("$pod")
    fi
  done
}

# <family>: checks the interfaces of future pods. When pods no longer fit on the primary interface, the VPC CNI
# attaches another interface.
check_interfaces_to_come() {
  local device
  sees_vpc_cni "$1" || return
  [[ -z ${STEERED[$1]} && -z ${LEFT[$1]} ]] || return
  for device in ${UPLINKS[$1]}; do
    [[ $device == vlan* ]] || has_answerable_address "$1" "$device" ||
      foreign_address "$1" "new pods could leave through $device, with an address in the pods' range"
  done
}

# <family>: are pods' packets to the destinations tracked by conntrack? Untracked packets are never masqueraded. Fails
# with ERROR.
is_tracked() {
  local backend
  for backend in iptables-nft iptables-legacy; do
    is_installed "$backend" || continue
    is_tracked_by_iptables "$backend" "$1" || return
  done
  is_tracked_by_nft "$1"
}

# <backend> <family>: does the work of is_tracked for table raw of this backend.
is_tracked_by_iptables() {
  local rule
  if ! find_rules_after "$1" "$2" raw PREROUTING; then
    error "table raw of $1 cannot be read: its rules may keep packets of pods from being tracked (is nft installed?)"
    return
  fi
  for rule in ${REACHED[@]+"${REACHED[@]}"}; do
    case $rule in
      'nft '*notrack* | 'nft '*'"CT"'*) ;;
      '-A OUTPUT '*) continue ;;
      *' -j NOTRACK'* | *' -j CT --notrack'*) may_match_pods "$rule" || continue ;;
      *) continue ;;
    esac
    error "a rule of table raw may keep packets of pods from being tracked, and so from being masqueraded: $rule"
    return
  done
}

# <family>: does the work of is_tracked for nft's own tables, where every rule is assumed to match.
is_tracked_by_nft() {
  local line is_output=''
  if ! read_native_tables "$1"; then
    error 'the tables of nft cannot be read: their rules may keep packets of pods from being tracked'
    return
  fi
  while read -r line; do
    case $line in
      'chain '*) is_output='' ;;
      type*' hook output '*) is_output=yes ;;
      notrack* | *' notrack'* | *'"CT"'*)
        if [[ -z $is_output ]]; then
          error "a rule of nft may keep packets of pods from being tracked, and so from being masqueraded: $line"
          return
        fi
        ;;
    esac
  done <"$WORK/native"
}

# <rule>: can the rule match packets from pods to the destinations?
may_match_pods() {
  local words i kind
  # Addresses come before all other matches, which can contain any text in comments.
  read -r -a words <<<"${1%% -m *}"
  for ((i = 1; i + 1 < ${#words[@]}; i++)); do
    case ${words[i - 1]}${words[i]} in
      '!'*) continue ;;
      *-s) kind=source ;;
      *-d) kind=masquerade ;;
      *) continue ;;
    esac
    if [[ $kind == source ]] && ! has_sources; then continue; fi
    parse_cidr "${words[i + 1]}" || continue
    overlaps "$kind" || return 1
  done
}

# The marks that ip rules match, each alone and in every combination. A packet may carry any of them, except those that
# mark_is_possible excludes.
MARKS=()
# The marks that may replace ours.
REPLACED=()

# <family>: sets MARKS. Fails with ERROR if there are too many marks.
find_marks() {
  local words i value mark known=() combined
  # The queries to the kernel contain only addresses, interfaces and marks.
  if [[ ${IP_RULES[$1]} =~ \ (not|ipproto|sport|dport|tos|dsfield|uidrange|tun_id)\  ]]; then
    error "an ip rule selects packets by \"${BASH_REMATCH[1]}\", so the path of pods' packets is not known"
    return
  fi
  read -r -d '' -a words <<<"${IP_RULES[$1]}"
  for ((i = 0; i + 1 < ${#words[@]}; i++)); do
    [[ ${words[i]} == fwmark && ${words[i + 1]} != "$steer_mark" ]] || continue
    value=$((${words[i + 1]%/*}))
    if [[ " ${known[*]-} " != *" $value "* ]]; then known+=("$value"); fi
  done
  if ((${#known[@]} > 4)); then
    error "${#known[@]} ip rules match the marks of packets: too many to check every combination"
    return
  fi
  MARKS=(0)
  for value in ${known[@]+"${known[@]}"}; do
    combined=("${MARKS[@]}")
    for mark in "${combined[@]}"; do MARKS+=($((mark | value))); done
  done
  find_replaced_marks "$1"
}

# <family>: sets ROWS. If there are many pods, only for a sample of them.
make_rows() {
  local i j step=1 mark device address steered=0 total
  ROWS=()
  if [[ -n ${STEERED[$1]} ]]; then steered=$((${steer_mark%/*})); fi
  if ((${#POD_ADDRESSES[@]} == 0)); then
    expected_pod "$1"
    read -r address device <<<"$REPLY"
    POD_ADDRESSES=("$address") POD_DEVICES=("$device") POD_NAMESPACES=('')
  else
    PODS_FOUND=$((PODS_FOUND + ${#POD_ADDRESSES[@]}))
  fi
  total=$((${#POD_ADDRESSES[@]} * ${#DESTINATIONS[@]} * ${#MARKS[@]} * 2))
  while ((total / step > max_queries)); do step=$((step * 2)); done
  for ((i = 0; i < ${#POD_ADDRESSES[@]}; i += step)); do
    for ((j = 0; j < ${#DESTINATIONS[@]}; j++)); do
      for mark in "${MARKS[@]}"; do
        mark_is_possible "$1" "$mark" "$j" "${POD_DEVICES[i]}" || continue
        ROWS+=("${POD_ADDRESSES[i]} ${POD_DEVICES[i]} $j $((mark | steered))")
      done
      for mark in ${REPLACED[@]+"${REPLACED[@]}"}; do ROWS+=("${POD_ADDRESSES[i]} ${POD_DEVICES[i]} $j $mark"); done
    done
  done
}

# <family> <mark> <destination index> <interface>: can a packet carry this mark? If the VPC CNI's rules are
# understood, a packet that it masquerades always carries its mark.
mark_is_possible() {
  [[ -n ${LEFT[$1]} && $4 == eni* ]] || return 0
  cni_sets_mark "${DESTINATIONS[$3]}/32" || return 0
  (($2 & 0x80))
}

# <family>: REPLY is a typical address and interface of a pod, for a node without pods.
expected_pod() {
  local i device=lo address=''
  for ((i = 0; i < ${#ADDRESSES[@]}; i++)); do
    parse_address "${ADDRESSES[i]}" || continue
    if ((FAMILY == $1)) && is_source && ! is_uplink "$1" "${ADDRESS_DEVICES[i]}"; then
      device=${ADDRESS_DEVICES[i]} LENGTH=${ADDRESS_LENGTHS[i]}
      neighbouring_address
      address=$REPLY
      break
    fi
  done
  indices_of source "$1"
  for i in $REPLY; do
    [[ -z $address ]] || break
    FAMILY=$1 HI=${HIS[i]} LO=${LOS[i]} LENGTH=${LENS[i]}
    neighbouring_address
    address=$REPLY
  done
  REPLY="${address:--} $device"
}

# REPLY: an address near FAMILY, HI, LO that does not belong to the node.
neighbouring_address() {
  local known attempt is_known
  for ((attempt = 0; attempt < 8; attempt++)); do
    if ((FAMILY == 4)); then HI=$((HI + (1 << 32))); else LO=$((LO + 1)); fi
    print_address
    is_known=''
    for known in "${ADDRESSES[@]}"; do
      if [[ $known == "$REPLY" ]]; then is_known=yes; fi
    done
    [[ -n $is_known ]] || return
  done
}

# <family>: queries the kernel for each row and evaluates the answers.
check_rows() {
  local row pod device destination mark queries=() i bad=' '
  for row in ${ROWS[@]+"${ROWS[@]}"}; do
    read -r pod device destination mark <<<"$row"
    if [[ $pod == - ]]; then
      queries+=("route get ${DESTINATIONS[destination]} mark $mark")
    else
      queries+=("route get ${DESTINATIONS[destination]} from $pod iif $device mark $mark")
    fi
  done
  query_routes "$1" ${queries[@]+"${queries[@]}"}
  for ((i = 0; i < ${#ROWS[@]}; i++)); do
    read -r pod device destination mark <<<"${ROWS[i]}"
    if ! evaluate_row "$1" "$i"; then
      if [[ $bad != *" $pod "* ]]; then bad+="$pod "; fi
    fi
  done
  for pod in ${POD_ADDRESSES[@]+"${POD_ADDRESSES[@]}"}; do
    if ((PODS_FOUND > 0)) && [[ $bad != *" $pod "* ]]; then PODS_PROVEN=$((PODS_PROVEN + 1)); fi
  done
}

# <family> <row>: evaluates the answer for one row. Fails and sets CODE and REASON if the path is not proven.
evaluate_row() {
  local pod device index mark destination own address='' subject
  read -r pod device index mark <<<"${ROWS[$2]}"
  destination=${DESTINATIONS[index]} own=${OWN_ADDRESSES[index]} subject="pod $pod"
  if ((PODS_FOUND == 0)); then subject="a pod such as $pod"; fi
  if [[ -n ${ANSWER_ERRORS[$2]:-} ]]; then
    explain_error "$device" "$destination" "${ANSWER_ERRORS[$2]}" "$subject"
    return 1
  fi
  parse_answer "${ANSWERS[$2]}"
  # The destination is an address of the node itself.
  [[ -n $ANSWER_DEVICE ]] || return 0
  EXPECTED_DEVICES[$1]+=" $ANSWER_DEVICE"
  if [[ -n ${LEFT[$1]} && $ANSWER_DEVICE != vlan* ]]; then
    address=${LEFT[$1]}
  elif [[ -z ${LEFT[$1]} ]] && is_masqueraded_on "$1" "$ANSWER_DEVICE"; then
    masquerade_address "$1" "$index"
    address=$REPLY
  elif [[ $pod != - ]]; then
    address=$pod
  fi
  PATH_ADDRESS["$pod $destination"]=$address
  if is_answerable "$address" "$own"; then
    add_path true "$pod" "$destination" "$address"
    return 0
  fi
  add_path false "$pod" "$destination" "$address"
  if may_be_answered "$pod" "$address"; then
    confirmation_key "$address" "$destination"
    if [[ " $UNCONFIRMED " != *" $REPLY "* ]]; then UNCONFIRMED+="${UNCONFIRMED:+ }$REPLY"; fi
    return 0
  fi
  foreign_address "$1" "packets of $subject to $destination leave through $ANSWER_DEVICE with \
${address:-an unknown address}, not with the node's address $own"
  return 1
}

# <pod> <address>: can a probe show that a peer replies to this address? That is possible for any address of the node
# outside the pods' ranges, and for the pod's own address if our rules keep it.
may_be_answered() {
  [[ -n $2 && $1 != - ]] || return 1
  if [[ $1 == "$2" ]]; then
    ((PODS_FOUND > 0))
    return
  fi
  parse_address "$2" || return 1
  has_sources || return 1
  ! contains_address source
}

# <address> <destination>: REPLY is a key for the address and the range of the rule set that contains the destination.
# A probe to one address confirms the whole range.
confirmation_key() {
  REPLY=$1@
  parse_address "$2" || return
  contains_address masquerade || return
  REPLY+=$((HI & MASK_HI[MATCHED])).$((LO & MASK_LO[MATCHED]))/$MATCHED
}

# <family> <interface>: do our rules masquerade packets that leave through this interface?
is_masqueraded_on() {
  local spared
  [[ -z $OUT || $OUT == "$2" ]] || return 1
  for spared in ${SPARED[$1]}; do
    # shellcheck disable=SC2053 # a pattern on purpose: vlan+ is vlan*
    [[ $2 == ${spared/%+/*} ]] && return 1
  done
  return 0
}

# <family> <destination index>: REPLY is the source address that masquerading would give the packet of the last answer.
# That is the interface's first primary address in the gateway's subnet, or its first primary address if none is in that
# subnet.
masquerade_address() {
  local i first='' hi lo
  for ((i = 0; i < ${#ADDRESSES[@]}; i++)); do
    [[ ${ADDRESS_DEVICES[i]} == "$ANSWER_DEVICE" ]] || continue
    parse_address "${ADDRESSES[i]}" || continue
    ((FAMILY == $1)) || continue
    REPLY=${ADDRESSES[i]} first=${first:-${ADDRESSES[i]}} LENGTH=${ADDRESS_LENGTHS[i]}
    # For IPv6 the kernel selects the address in the same way as for its own packets.
    if (($1 == 6)); then
      [[ $REPLY == "${OWN_ADDRESSES[$2]}" ]] && return
      continue
    fi
    hi=$HI lo=$LO
    parse_address "${ANSWER_GATEWAY:-${DESTINATIONS[$2]}}" || continue
    (((HI & MASK_HI[LENGTH]) == (hi & MASK_HI[LENGTH]) && (LO & MASK_LO[LENGTH]) == (lo & MASK_LO[LENGTH]))) && return
  done
  REPLY=$first
}

# <interface> <destination> <error> <subject>
explain_error() {
  local settings=/proc/sys/net/ipv4/conf
  if [[ $2 != *:* && -r $settings/$1/forwarding && $(<"$settings/$1/forwarding") == 0 ]]; then
    not_proven no-forwarding "the node does not forward the packets of pods: forwarding is off on $1"
    return
  fi
  read_filter "$1"
  if [[ $2 != *:* && $REPLY != 0 && $3 == Invalid* ]]; then
    not_proven rp-filter "the kernel drops packets of $4 on $1: rp_filter is $REPLY and its route is elsewhere"
    return
  fi
  not_proven paths-unknown "the kernel has no path for $4 to $2: $3"
}

# <ok> <pod> <destination> <address>: adds a path to PATHS. Bad paths come first.
add_path() {
  local path known from="\"$2\"" address="\"$4\""
  if [[ $2 == - ]]; then from=null; fi
  if [[ -z $4 ]]; then address=null; fi
  path="{\"from\":$from,\"to\":\"$3\",\"dev\":\"$ANSWER_DEVICE\",\"address\":$address,\"ok\":$1}"
  for known in ${PATHS[@]+"${PATHS[@]}"}; do
    [[ $known == "$path" ]] && return
  done
  if [[ $1 == false ]]; then PATHS=("$path" ${PATHS[@]+"${PATHS[@]}"}); else PATHS+=("$path"); fi
  if ((${#PATHS[@]} > 4)); then PATHS=("${PATHS[@]:0:4}"); fi
}
