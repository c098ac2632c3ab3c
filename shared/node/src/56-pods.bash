# --- Pods ---

# The pods on this node: their addresses, the interfaces on which the node receives their packets, and the files of
# their network namespaces (empty if unknown).
POD_ADDRESSES=() POD_DEVICES=() POD_NAMESPACES=()
# The index of each pod, by address.
declare -A POD_INDEX=()
# The hardware address of each neighbour, by address.
declare -A NEIGHBOUR_MACS=()
# Why no pod's namespace could be entered. Empty if one could.
NAMESPACE_ERROR=''
readonly max_pods=512 max_namespaces=64
# The files of unnamed network namespaces, which belong to container runtimes and processes.
readonly namespace_files='/run/docker/netns/* /proc/[0-9]*/ns/net'

# <family>: finds pods through their routes and neighbour entries. The routes of the family must have been read.
find_pods() {
  local i line address device mac state
  POD_ADDRESSES=() POD_DEVICES=() POD_NAMESPACES=() POD_INDEX=() NEIGHBOUR_MACS=()
  for ((i = 0; i < ${#ROUTE_RANGES[@]}; i++)); do
    [[ ${ROUTE_RANGES[i]} == */"$(($1 == 4 ? 32 : 128))" && -z ${ROUTE_GATEWAYS[i]} ]] || continue
    add_pod "$1" "${ROUTE_RANGES[i]%/*}" "${ROUTE_DEVICES[i]}" ''
  done
  for line in ${NEIGHBOUR_LINES[@]+"${NEIGHBOUR_LINES[@]}"}; do
    [[ $line == *' lladdr '* ]] || continue
    read -r address _ device _ mac state <<<"$line"
    [[ $state != *FAILED* && $state != *INCOMPLETE* ]] || continue
    NEIGHBOUR_MACS[$address]=$mac
    add_pod "$1" "$address" "$device" ''
  done
}

# <family> <address> <interface> <namespace>: adds the pod, or adds the namespace if the pod is already known.
add_pod() {
  local known
  is_uplink "$1" "$3" && return
  [[ $3 =~ $device_pattern && $3 != lo ]] || return
  parse_address "$2" || return
  is_source || return
  for known in ${ADDRESSES[@]+"${ADDRESSES[@]}"}; do
    [[ $known == "$2" ]] && return
  done
  known=${POD_INDEX[$2]:-}
  if [[ -n $known ]]; then
    if [[ -n $4 ]]; then POD_NAMESPACES[known]=$4; fi
    return
  fi
  ((${#POD_ADDRESSES[@]} < max_pods)) || return
  POD_INDEX[$2]=${#POD_ADDRESSES[@]}
  POD_ADDRESSES+=("$2") POD_DEVICES+=("$3") POD_NAMESPACES+=("$4")
}

# The node's interfaces by index: the name, the index of the interface at the other end, and the bridge to which the
# interface is attached.
declare -A LINK_NAMES=() LINK_PEERS=() LINK_MASTERS=()
# The namespaces at the other ends of the interfaces. HAS_UNNAMED is "yes" if some of them have no name.
NAMED_NAMESPACES=() HAS_UNNAMED=''

# <family>: enters the namespaces at the other ends of the node's interfaces, and adds the pods in them. Only the
# kernel's own tables are read there.
find_namespaces() {
  local inode file own seen count=0
  NAMESPACE_ERROR=''
  if ! has nsenter; then
    NAMESPACE_ERROR='nsenter is not installed'
    return
  fi
  read_links
  for file in ${NAMED_NAMESPACES[@]+"${NAMED_NAMESPACES[@]}"}; do look_into_namespace "$1" "$file"; done
  [[ -n $HAS_UNNAMED ]] || return
  own=$(exec stat -L -c %i /proc/self/ns/net ${NAMED_NAMESPACES[@]+"${NAMED_NAMESPACES[@]}"} 2>/dev/null)
  seen=" ${own//$'\n'/ } "
  while read -r inode file; do
    [[ $seen != *" $inode "* ]] || continue
    seen+="$inode " count=$((count + 1))
    ((count <= max_namespaces)) || return
    look_into_namespace "$1" "$file"
  done < <(
    set +f
    # shellcheck disable=SC2086 # patterns on purpose
    stat -L -c '%i %n' $namespace_files 2>/dev/null
  )
}

read_links() {
  local line index pattern='^([0-9]+): ([^@: ]+)@if([0-9]+): '
  LINK_NAMES=() LINK_PEERS=() LINK_MASTERS=() NAMED_NAMESPACES=() HAS_UNNAMED=''
  while IFS= read -r line; do
    [[ $line =~ $pattern ]] || continue
    index=${BASH_REMATCH[1]}
    LINK_NAMES[$index]=${BASH_REMATCH[2]} LINK_PEERS[$index]=${BASH_REMATCH[3]}
    if [[ $line =~ \ master\ ([^ ]+) ]]; then LINK_MASTERS[$index]=${BASH_REMATCH[1]}; fi
    if [[ $line =~ \ link-netns\ ([A-Za-z0-9._-]+) ]]; then
      if [[ " ${NAMED_NAMESPACES[*]-} " != *" /run/netns/${BASH_REMATCH[1]} "* ]]; then
        NAMED_NAMESPACES+=("/run/netns/${BASH_REMATCH[1]}")
      fi
    elif [[ $line == *' link-netnsid '* ]]; then
      HAS_UNNAMED=yes
    fi
  done < <(exec ip -o link show 2>/dev/null)
}

# <family> <namespace>: adds the pods in this namespace whose interface is paired with an interface of the node.
look_into_namespace() {
  local line index='' peer='' mac='' found header='^([0-9]+): [^ ]+@if([0-9]+): ' address="^ +inet${1#4} ([0-9a-f.:]+).* scope global"
  if ! nsenter -n"$2" -- ip addr show >"$WORK/namespace" 2>"$WORK/errors"; then
    read -r NAMESPACE_ERROR <"$WORK/errors"
    return
  fi
  while IFS= read -r line; do
    if [[ $line == [0-9]* ]]; then
      index='' peer='' mac=''
      if [[ $line =~ $header ]]; then index=${BASH_REMATCH[1]} peer=${BASH_REMATCH[2]}; fi
    elif [[ $line == *link/ether* ]]; then
      mac=${line#*link/ether } mac=${mac%% *}
    elif [[ -n $peer && ${LINK_PEERS[$peer]:-} == "$index" && $line =~ $address ]]; then
      found=${BASH_REMATCH[1]}
      # A namespace of another machine on the same host can contain the same interface numbers.
      [[ -z ${NEIGHBOUR_MACS[$found]:-} || ${NEIGHBOUR_MACS[$found]} == "$mac" ]] || continue
      add_pod "$1" "$found" "${LINK_MASTERS[$peer]:-${LINK_NAMES[$peer]}}" "$2"
    fi
  done <"$WORK/namespace"
}
