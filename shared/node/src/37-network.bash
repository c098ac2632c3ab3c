# --- The node's network ---

# The node's addresses with global scope, their interfaces and their prefix lengths.
ADDRESSES=() ADDRESS_DEVICES=() ADDRESS_LENGTHS=()
# By family: the output of `ip rule`; the uplinks, which are the interfaces through which packets to the destinations
# can leave; and the uplinks whose packets keep the pod's address, as iptables patterns.
declare -A IP_RULES=([4]='' [6]='') UPLINKS=([4]='' [6]='') SPARED=([4]='' [6]='')
# By family: whether pods' packets are steered; and the source address that the VPC CNI already gives to all packets
# from pods to the destinations (empty if it does not).
declare -A STEERED=([4]='' [6]='') LEFT=([4]='' [6]='')
# By family: the interface to which pods' packets should be steered but cannot be, because the kernel would drop the
# replies there (empty if there is none).
declare -A STRICT=([4]='' [6]='')
# The ranges and interfaces of one family's routes, and whether each route has a gateway. Routes to the node's own
# addresses are left out.
ROUTE_RANGES=() ROUTE_DEVICES=() ROUTE_GATEWAYS=()
# The output of ip for one family.
NEIGHBOUR_LINES=() ADDRESS_LINES=() ROUTE_LINES=()
# For one family: a sample address for each group of destinations that are routed alike; and the interface and the
# source address of the node's own packets to each sample (empty if the node cannot reach it).
DESTINATIONS=() OWN_DEVICES=() OWN_ADDRESSES=()
readonly spared_note='keep the address of the pod' left_note='the VPC CNI masquerades'
readonly device_pattern='^[A-Za-z0-9._-]{1,15}$'
readonly max_samples=64

# Reads the network settings on which the rules depend: the interfaces through which packets to the destinations leave,
# and the source addresses that packets get on these interfaces.
read_network() {
  local family
  ADDRESSES=() ADDRESS_DEVICES=() ADDRESS_LENGTHS=()
  for family in 4 6; do
    IP_RULES[$family]='' UPLINKS[$family]='' SPARED[$family]='' STEERED[$family]='' LEFT[$family]='' STRICT[$family]=''
    read_family "$family" || continue
    find_cni_masquerading "$family"
    inherit_random_ports_from_nft "$family"
    find_spared "$family"
    needs_steering "$family" || continue
    find_strict_interface "$family"
    if [[ -z ${STRICT[$family]} ]]; then STEERED[$family]=yes; fi
  done
}

# <family>: reads the network of a family. Fails if the rule set has no destination in this family.
read_family() {
  has ip && ((${COUNT[masquerade $1]:-0} > 0)) || return 1
  [[ $READ_FAMILY != "$1" ]] || return 0
  ROUTE_RANGES=() ROUTE_DEVICES=() ROUTE_GATEWAYS=() DESTINATIONS=() OWN_DEVICES=() OWN_ADDRESSES=()
  read_kernel "$1"
  ip_rules "$1"
  IP_RULES[$1]=$REPLY
  read_addresses "$1"
  read_routes "$1"
  choose_destinations "$1"
  find_own_paths "$1"
  READ_FAMILY=$1
}

# <family>: reads neighbours, addresses, ip rules and routes with one process. The lines for addresses and ip rules
# start with a number and a colon, and come between the neighbours and the routes. Address lines always exist, because
# every node has a loopback interface.
read_kernel() {
  local line rest is_after='' rules=''
  NEIGHBOUR_LINES=() ADDRESS_LINES=() ROUTE_LINES=()
  printf '%s\n' 'neigh show' 'addr show' 'rule show' 'route show table all' >"$WORK/queries"
  ip "-$1" -force -o -batch "$WORK/queries" >"$WORK/answers" 2>/dev/null
  while IFS= read -r line; do
    rest=${line#"${line%%[!0-9]*}"}
    case $rest in
      :$'\t'*) is_after=yes rules+=$line$'\n' ;;
      ': '*) is_after=yes ADDRESS_LINES+=("$line") ;;
      *) if [[ -n $is_after ]]; then ROUTE_LINES+=("$line"); else NEIGHBOUR_LINES+=("$line"); fi ;;
    esac
  done <"$WORK/answers"
  RULE_TEXTS[$1]=$rules
}

# <family>
read_addresses() {
  local line device address length pattern='^[0-9]+: ([^ ]+) +inet6? ([0-9a-f.:]+)(/([0-9]+))? '
  for line in ${ADDRESS_LINES[@]+"${ADDRESS_LINES[@]}"}; do
    [[ $line == *' scope global '* && $line != *' secondary '* && $line != *' temporary '* ]] || continue
    [[ $line =~ $pattern ]] || continue
    device=${BASH_REMATCH[1]} address=${BASH_REMATCH[2]} length=${BASH_REMATCH[4]:-$(($1 == 4 ? 32 : 128))}
    [[ $device =~ $device_pattern ]] || continue
    ADDRESS_DEVICES+=("$device") ADDRESSES+=("$address") ADDRESS_LENGTHS+=("$length")
  done
}

# <family>: finds the uplinks in the routes of all tables.
read_routes() {
  local line range words
  for line in ${ROUTE_LINES[@]+"${ROUTE_LINES[@]}"}; do
    case $line in
      'local '* | 'broadcast '* | 'multicast '* | 'anycast '*) continue ;;
      'unicast '* | 'blackhole '* | 'unreachable '* | 'prohibit '* | 'throw '*) line=${line#* } ;;
    esac
    range=${line%% *}
    if [[ $range != default && $range != */* ]]; then range+=/$(($1 == 4 ? 32 : 128)); fi
    # shellcheck disable=SC2206 # split on purpose; set -f keeps the words as they are
    words=($line)
    devices_of "${words[@]}"
    ROUTE_RANGES+=("$range") ROUTE_DEVICES+=("$REPLY")
    if [[ $line == *' via '* ]]; then ROUTE_GATEWAYS+=(yes); else ROUTE_GATEWAYS+=(''); fi
    if leads_to_destination "$range"; then add_uplinks "$1" "${ROUTE_DEVICES[-1]}"; fi
  done
}

# <word>...: REPLY is every interface that follows the word "dev". A route with several next hops has several
# interfaces.
devices_of() {
  REPLY=''
  while (($# > 1)); do
    if [[ $1 == dev && $2 =~ $device_pattern ]]; then REPLY+="${REPLY:+ }$2"; fi
    shift
  done
}

# <range>: can a packet that is masqueraded take a route to this range?
leads_to_destination() {
  [[ $1 == default ]] && return
  parse_cidr "$1" || return
  if has_sources && contains_address source; then return 1; fi
  common_address
}

# REPLY: an address that is in both the range FAMILY, HI, LO, LENGTH and the destinations of the rule set. Fails if
# there is none.
common_address() {
  overlaps masquerade || return
  if [[ -n $REPLY ]]; then HI=${HIS[REPLY]} LO=${LOS[REPLY]} LENGTH=${LENS[REPLY]}; fi
  address_in_range
}

# <family> <devices>
add_uplinks() {
  local device
  for device in $2; do
    if [[ " ${UPLINKS[$1]} " != *" $device "* ]]; then UPLINKS[$1]+="${UPLINKS[$1]:+ }$device"; fi
  done
}

# <family> <device>
is_uplink() { [[ " ${UPLINKS[$1]} " == *" $2 "* ]]; }

# <family>: sets DESTINATIONS to one address for each group of destinations that routes and ip rules treat alike.
choose_destinations() {
  local range words i
  for range in ${PROBES[@]+"${PROBES[@]}"}; do
    range=${range%:*} range=${range#\[} range=${range%\]}
    if parse_address "$range" && ((FAMILY == $1)) && contains_address masquerade && ! contains_address exempt; then
      add_destination "$range"
    fi
  done
  read -r -d '' -a words <<<"${IP_RULES[$1]}"
  for ((i = 0; i + 1 < ${#words[@]}; i++)); do
    if [[ ${words[i]} == to ]]; then add_destination_in "$1" "${words[i + 1]}"; fi
  done
  for range in ${ROUTE_RANGES[@]+"${ROUTE_RANGES[@]}"}; do
    if [[ $range != default ]]; then add_destination_in "$1" "$range"; fi
  done
  for ((i = 0; i < ${#KINDS[@]}; i++)); do
    [[ ${KINDS[i]} == masquerade && ${FAMILIES[i]} == "$1" ]] || continue
    FAMILY=$1 HI=${HIS[i]} LO=${LOS[i]} LENGTH=${LENS[i]}
    if address_in_range; then
      add_destination "$REPLY"
      break
    fi
  done
}

# <family> <range>: adds a destination that is in both the range and the rule set.
add_destination_in() {
  local range=$2
  if [[ $range != */* ]]; then range+=/$(($1 == 4 ? 32 : 128)); fi
  parse_cidr "$range" || return
  common_address || return
  add_destination "$REPLY"
}

# <address>
add_destination() {
  local known
  ((${#DESTINATIONS[@]} < max_samples)) || return
  for known in ${DESTINATIONS[@]+"${DESTINATIONS[@]}"}; do
    [[ $known == "$1" ]] && return
  done
  DESTINATIONS+=("$1")
}

# <family>: sets OWN_DEVICES and OWN_ADDRESSES, and removes the node's own addresses from DESTINATIONS.
find_own_paths() {
  local i destination queries=() chosen=(${DESTINATIONS[@]+"${DESTINATIONS[@]}"})
  for destination in ${chosen[@]+"${chosen[@]}"}; do queries+=("route get $destination"); done
  query_routes "$1" ${queries[@]+"${queries[@]}"}
  DESTINATIONS=()
  for ((i = 0; i < ${#chosen[@]}; i++)); do
    [[ ${ANSWERS[i]} != local\ * ]] || continue
    parse_answer "${ANSWERS[i]}"
    DESTINATIONS+=("${chosen[i]}") OWN_DEVICES+=("$ANSWER_DEVICE") OWN_ADDRESSES+=("$ANSWER_SOURCE")
  done
}

# The kernel's answer to each query (empty after an error), the errors, and the fields of the answer that was parsed
# last.
ANSWERS=() ANSWER_ERRORS=() ANSWER_DEVICE='' ANSWER_GATEWAY='' ANSWER_SOURCE=''

# <family> <query>...: sends all queries to the kernel with one process. Sets ANSWERS and ANSWER_ERRORS.
query_routes() {
  local line message='' lines number=0 pattern='^Command failed .*:([0-9]+)$' i
  ANSWERS=() ANSWER_ERRORS=()
  (($# > 1)) || return
  printf '%s\n' "${@:2}" >"$WORK/queries"
  ip "-$1" -force -o -batch "$WORK/queries" >"$WORK/answers" 2>"$WORK/errors"
  while IFS= read -r line; do
    if [[ $line =~ $pattern ]]; then
      ANSWER_ERRORS[BASH_REMATCH[1] - 1]=$message
    else
      message=${line#RTNETLINK answers: }
    fi
  done <"$WORK/errors"
  mapfile -t lines <"$WORK/answers"
  for ((i = 0; i < $# - 1; i++)); do
    if [[ -n ${ANSWER_ERRORS[i]:-} ]]; then
      ANSWERS[i]=''
    else
      ANSWERS[i]=${lines[number]:-} number=$((number + 1))
    fi
  done
}

# <answer>: sets ANSWER_DEVICE, ANSWER_GATEWAY and ANSWER_SOURCE. All are empty if the packet does not leave the node.
parse_answer() {
  ANSWER_DEVICE='' ANSWER_GATEWAY='' ANSWER_SOURCE=''
  [[ $1 != local\ * ]] || return
  if [[ $1 =~ \ dev\ ([^ ]+) ]]; then ANSWER_DEVICE=${BASH_REMATCH[1]}; fi
  if [[ $1 =~ \ via\ (inet6 )?([^ ]+) ]]; then ANSWER_GATEWAY=${BASH_REMATCH[2]}; fi
  if [[ $1 =~ \ src\ ([^ ]+) ]]; then ANSWER_SOURCE=${BASH_REMATCH[1]}; fi
}

# <family>: sets SPARED to the uplinks that have no suitable address for masquerading. On these uplinks, the kernel
# would use an address of another interface or an address in the pods' range, and a peer may have no route to that
# address.
find_spared() {
  local device wildcard=''
  # Branch interfaces are created and deleted with pods, so a wildcard also covers future ones.
  if sees_vpc_cni "$1" && [[ " ${OWN_DEVICES[*]-} " != *' vlan'* ]]; then
    wildcard=vlan
    SPARED[$1]=vlan+
  fi
  for device in ${UPLINKS[$1]}; do
    [[ -z $wildcard || $device != "$wildcard"* ]] || continue
    if ! has_answerable_address "$1" "$device"; then SPARED[$1]+="${SPARED[$1]:+ }$device"; fi
  done
}

# <family> <device>
has_answerable_address() {
  local i own
  for ((i = 0; i < ${#ADDRESSES[@]}; i++)); do
    [[ ${ADDRESS_DEVICES[i]} == "$2" ]] || continue
    parse_address "${ADDRESSES[i]}" || continue
    ((FAMILY == $1)) || continue
    has_sources || return 0
    contains_address source || return 0
    for own in ${OWN_ADDRESSES[@]+"${OWN_ADDRESSES[@]}"}; do
      is_answerable "${ADDRESSES[i]}" "$own" && return 0
    done
  done
  return 1
}

# <address> <own address>: if a peer can reply to the node's own address, can it also reply to this address? It can if
# both addresses are in the same subnet, because no cloud has routes to parts of a subnet.
is_answerable() {
  local i hi lo
  [[ -n $1 && -n $2 ]] || return 1
  [[ $1 == "$2" ]] && return 0
  for ((i = 0; i < ${#ADDRESSES[@]}; i++)); do
    [[ ${ADDRESSES[i]} == "$2" ]] || continue
    parse_address "$2" || return 1
    hi=$HI lo=$LO LENGTH=${ADDRESS_LENGTHS[i]}
    parse_address "$1" || return 1
    (((HI & MASK_HI[LENGTH]) == (hi & MASK_HI[LENGTH]) && (LO & MASK_LO[LENGTH]) == (lo & MASK_LO[LENGTH])))
    return
  done
  return 1
}

# <family>: does the VPC CNI route pods' packets on this node? If so, there are ip rules for packets with its mark or
# for branch interfaces.
sees_vpc_cni() { [[ ${IP_RULES[$1]} == *' fwmark 0x80/0x80 lookup main'* || ${IP_RULES[$1]} == *' iif vlan'* ]]; }

# <family>: sets STRICT. With strict rp_filter, the kernel accepts a reply only on the interface through which it
# would send packets from the pod's address to the peer. Because replies carry no mark, that interface is not the one to
# which packets are steered.
find_strict_interface() {
  local device
  [[ $1 == 4 ]] || return
  for device in ${OWN_DEVICES[@]+"${OWN_DEVICES[@]}"}; do
    read_filter "$device"
    if ((REPLY == 1)); then STRICT[$1]=$device; fi
  done
}

# <interface>: REPLY is the effective rp_filter of the interface. 0 means off, 1 means strict.
read_filter() {
  local settings=/proc/sys/net/ipv4/conf all=0
  REPLY=0
  [[ -r $settings/$1/rp_filter ]] || return
  read -r REPLY <"$settings/$1/rp_filter"
  read -r all <"$settings/all/rp_filter"
  if ((all > REPLY)); then REPLY=$all; fi
}

# <family>: does the rule set allow steering, and can pods' packets leave through interfaces that the node's own packets
# do not use?
needs_steering() {
  local line words i
  [[ -n $STEER && -n ${COUNT[source $1]:-} && -z ${LEFT[$1]} ]] || return 1
  sees_vpc_cni "$1" && return 0
  while read -r line; do
    read -r -a words <<<"$line"
    for ((i = 0; i + 1 < ${#words[@]}; i++)); do
      [[ ${words[i]} == from && ${words[i + 1]} != all ]] || continue
      parse_address "${words[i + 1]%/*}" && contains_address source && return 0
    done
  done <<<"${IP_RULES[$1]}"
  return 1
}
