# --- Source ports ---
# Connections from one node address to the same destination address and port differ only in their source port.
# Masquerading selects ports from 1024 to 65535, regardless of net.ipv4.ip_local_port_range. (For a connection from a
# lower port it selects ports from 1 to 511 or 600 to 1023: nf_nat_l4proto_unique_tuple in the kernel.) Since Linux
# 5.0 the kernel stops after about 250 attempts, so connections start to fail before all ports are in use.
readonly port_range=64512 shown_percent=50 warned_percent=70
# Reading 50,000 connections takes 0.4 s of CPU time.
readonly max_flows=200000

# Sets PORTS, and warns about destinations for which source ports may run out.
count_ports() {
  local flows count to
  PORTS=()
  { read -r flows </proc/sys/net/netfilter/nf_conntrack_count; } 2>/dev/null || return 0
  ((flows > 0)) || return 0
  # Reading the connections every minute is not worth the time if the node has few of them.
  [[ $RESULT == status ]] || is_full "$flows" "$shown_percent" || return 0
  ((${COUNT[masquerade 4]:-0} + ${COUNT[masquerade 6]:-0} > 0)) || return 0
  if ! read_flows; then
    warn 'source ports are not counted: neither /proc/net/nf_conntrack nor conntrack is available'
    return
  fi
  if ((flows > max_flows)); then warn "source ports are counted in $max_flows of $flows connections"; fi
  find_fullest
  for to in ${FULLEST[@]+"${FULLEST[@]}"}; do
    count=${to%% *} to=${to#* }
    [[ $RESULT == status ]] || is_full "$count" "$shown_percent" || continue
    PORTS+=("{\"to\":\"$to\",\"used\":$count,\"range\":$port_range}")
    if is_full "$count" "$warned_percent"; then
      warn "$to: $count of $port_range source ports in use: reuse connections, use more nodes or destination \
addresses, or add routes to the pods at the peer"
    fi
  done
}

# <connections> <percent>: do the connections use at least this percentage of the range?
is_full() { (($1 * 100 >= port_range * $2)); }

# Writes the protocol of each connection to $WORK/flows, with the addresses and ports that the peer sees, which are
# taken from the reply direction. Fails if the connections cannot be read.
read_flows() {
  if has_flow_file; then
    head -n "$max_flows" /proc/net/nf_conntrack | strip_flows >"$WORK/flows"
  elif has conntrack; then
    { conntrack -L -f ipv4; conntrack -L -f ipv6; } 2>/dev/null | head -n "$max_flows" | strip_flows >"$WORK/flows"
  else
    return 1
  fi
  return 0
}

# Not every kernel has this file. Reading it takes half as long as running conntrack.
has_flow_file() { [[ -n $(head -c 1 /proc/net/nf_conntrack 2>/dev/null) ]]; }

# Shortens lines like "tcp 6 90 ESTABLISHED src=POD dst=D sport=P dport=Q src=D dst=NODE sport=Q dport=R ...", which
# contain counters if these are enabled, to "tcp=D dst=NODE sport=Q". Drops lines of other protocols.
strip_flows() {
  sed -nE -e 's/ packets=[0-9]* bytes=[0-9]*//' -e 's/^(ipv[46] +[0-9]+ +)?(tcp|udp) [^=]*/\2/p' | cut -d = -f 1,6-8
}

# The three of our destinations with the most connections, as "COUNT DESTINATION".
FULLEST=()

# Sets FULLEST.
find_fullest() {
  local count protocol to node port
  FULLEST=()
  sort "$WORK/flows" | uniq -c | sort -rn | head -n 600 >"$WORK/counts"
  while read -r count to node port _; do
    protocol=${to%%=*} to=${to#*=}
    is_our_flow "$to" "${node#dst=}" || continue
    to=$REPLY
    if [[ $to == *:* ]]; then to="[$to]"; fi
    to+=:${port#sport=}
    if [[ $protocol != tcp ]]; then to+=/$protocol; fi
    FULLEST+=("$count $to")
    ((${#FULLEST[@]} < 3)) || return 0
  done <"$WORK/counts"
}

# <destination> <node>: does the connection lead to one of our destinations, from an address that does not belong to a
# pod? The node's own connections are included, because they use the same ports. REPLY: the destination.
is_our_flow() {
  local destination
  parse_flow_address "$1" || return 1
  destination=$REPLY
  contains_address masquerade || return 1
  contains_address exempt && return 1
  if has_sources; then
    parse_flow_address "$2" || return 1
    contains_address source && return 1
  fi
  REPLY=$destination
}

# <address>: does the work of parse_address, but also accepts IPv6 addresses with all zeros written out, as in /proc.
# REPLY: the canonical text.
parse_flow_address() {
  local hex=${1//:/}
  REPLY=$1
  if [[ $1 != *:* || ${#1} -ne 39 ]]; then
    parse_address "$1"
    return
  fi
  FAMILY=6 HI=$((16#${hex:0:16})) LO=$((16#${hex:16:16}))
  print_ipv6
}
