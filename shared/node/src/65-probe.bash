# --- Probes ---

# The source addresses that probes from pods had when they left the node, if the peer replied.
CONFIRMED=''
# A probe is sent from at most this many pods, until one of them gives a clear result.
readonly max_probing_pods=3

# <family>: REPLY is a local address in a source range, or empty (any address) if the rule set has no sources. Fails
# if the node has no address in a source range.
pod_address() {
  local line hex previous=''
  REPLY=''
  has_sources || return 0
  if [[ $1 == 4 ]]; then
    while read -r line; do
      if [[ $line == '/32 host LOCAL' ]] && parse_address "$previous" && contains_address source; then
        REPLY=$previous
        return 0
      fi
      previous=${line##* }
    done </proc/net/fib_trie
  elif [[ -r /proc/net/if_inet6 ]]; then
    while read -r hex _; do
      FAMILY=6 HI=$((16#${hex:0:8} << 32 | 16#${hex:8:8})) LO=$((16#${hex:16:8} << 32 | 16#${hex:24:8}))
      if contains_address source; then
        print_ipv6
        return 0
      fi
    done </proc/net/if_inet6
  fi
  return 1
}

# Runs the probes in parallel. They are sent from pods on this node; on a node without pods, they are sent from an
# address of the node whose packets take the same path as a pod's. Adds to PROBED, BASIS and CONFIRMED. Sets CODE and
# REASON if a probe is not confirmed.
run_probes() {
  local i count=${#PROBES[@]} send=probe_from_node outcome from detail family
  CONFIRMED=''
  ((count > 0)) || return 0
  if ! has curl; then
    warn 'curl is not installed: probes are not run'
    return
  fi
  if ((PODS_FOUND > 0)); then send=probe_from_pods; fi
  if ((count > max_probes)); then count=$max_probes; fi
  for ((i = 0; i < count; i++)); do
    family=4
    if [[ ${PROBES[i]} == \[* ]]; then family=6; fi
    "$send" "$family" "${PROBES[i]}" >"$WORK/probe.$i" 9>&- 8>&- &
  done
  wait
  for ((i = 0; i < count; i++)); do
    read -r outcome from detail <"$WORK/probe.$i"
    report_probe "${PROBES[i]}" "$outcome" "${from#-}" "$detail"
  done
  if [[ $send == probe_from_pods ]]; then from='probe-pod'; else from='probe-node'; fi
  if [[ ${PROBED[*]-} == *'"reached":true'* && ${PROBED[*]} != *'"reached":false'* ]]; then BASIS+=("$from"); fi
}

# <to> <outcome> <from> <detail>
report_probe() {
  local from=null reached=false destination
  case $2 in
    reached)
      reached=true
      destination=${1%:*} destination=${destination#\[}
      confirmation_key "$4" "${destination%\]}"
      CONFIRMED+=" $REPLY"
      ;;
    failed) not_proven probe-failed "probe $1 from ${3:-the node} failed${4:+: $4}" ;;
    unknown) not_proven probe-unknown "probe $1 from pod $3 proves nothing: $4" ;;
    no-namespace)
      not_proven no-namespace "probe $1 cannot be sent from a pod: $4"
      return
      ;;
    *)
      [[ ${WARNINGS[*]-} == *"$4"* ]] || warn "$4"
      return
      ;;
  esac
  if [[ -n $3 ]]; then from="\"$3\""; fi
  PROBED+=("{\"to\":\"$1\",\"from\":$from,\"reached\":$reached}")
}

# <family> <to>: sends a probe from an address of the node whose packets take the same path as a pod's, and prints
# "OUTCOME FROM DETAIL".
probe_from_node() {
  local from options=() destination=${2%:*}
  destination=${destination#\[} destination=${destination%\]}
  if ! pod_address "$1"; then
    printf 'skipped - no address in the pod range on this node: its probes are not run\n'
    return
  fi
  from=$REPLY
  if [[ -n $from ]]; then
    options=(--interface "$from")
    query_routes "$1" "route get $destination from $from"
    parse_answer "${ANSWERS[0]:-}"
    if [[ " ${EXPECTED_DEVICES[$1]:-} " != *" $ANSWER_DEVICE "* ]]; then
      printf 'skipped - no address on the path of pods on this node: its probes are not run\n'
      return
    fi
  fi
  if connects "$2" ${options[@]+"${options[@]}"}; then
    printf 'reached %s\n' "${from:--}"
  else
    printf 'failed %s\n' "${from:--}"
  fi
}

# <family> <to>: sends a probe from the network namespaces of pods until one gives a clear result, and prints "OUTCOME
# FROM DETAIL".
probe_from_pods() {
  local entry family namespace pod last='' tried=0
  for entry in ${PROBING_PODS[@]+"${PROBING_PODS[@]}"}; do
    read -r family namespace pod <<<"$entry"
    ((family == $1 && tried < max_probing_pods)) || continue
    tried=$((tried + 1))
    probe_from_pod "$1" "$2" "$namespace" "$pod"
    last=$REPLY
    [[ $last == unknown* ]] || break
  done
  printf '%s\n' "${last:-no-namespace - ${NAMESPACE_ERROR:-the network namespace of no pod was found}}"
}

# <family> <to> <namespace> <pod>: sends a probe from one pod. REPLY is "OUTCOME POD DETAIL". A connection alone
# proves nothing, because a sidecar in the namespace may accept it. The probe succeeds only if the node translated the
# flow as expected and the peer answered.
probe_from_pod() {
  local port=$((20000 + (BASHPID * 10 + RANDOM) % 12000)) connected='' line expected destination=${2%:*} answered
  destination=${destination#\[} destination=${destination%\]}
  expected=${PATH_ADDRESS["$4 $destination"]:-}
  if connects "$2" --net="$3" --interface "$4" --local-port "$port-$((port + 9))"; then connected=yes; fi
  if ! has conntrack; then
    REPLY="unknown $4 conntrack is not installed, so its source address is unknown"
    return
  fi
  find_flow "$1" "$4" "$destination" "${2##*:}" "$port"
  read -r line answered <<<"$REPLY"
  if [[ -z $line && -n $connected ]]; then
    REPLY="unknown $4 something in the pod's network namespace accepted it (a sidecar?)"
  elif [[ -z $line ]]; then
    # The kernel removes the conntrack entry of a flow that the peer refuses.
    REPLY="unknown $4 it was refused, or dropped before it left the node (the service, a sidecar or a network policy)"
  elif [[ $line != "$expected" ]]; then
    REPLY="failed $4 it left with $line, not with ${expected:-a known address}"
  elif [[ -n $connected && -n $answered ]]; then
    REPLY="reached $4 $line"
  elif [[ -n $answered ]]; then
    REPLY="failed $4 the peer refused it"
  else
    REPLY="failed $4 it left with $line, and nothing came back"
  fi
}

# <family> <source> <destination> <port> <first source port>: finds the flow of a probe. REPLY is the address to which
# the node translated the source, and "yes" if the flow was answered. Empty if the node has no such flow.
find_flow() {
  local line pattern=' sport=([0-9]+) dport=[0-9]+ (\[UNREPLIED\] )?src=[^ ]+ dst=([^ ]+) '
  REPLY=''
  while IFS= read -r line; do
    [[ $line =~ $pattern ]] || continue
    ((BASH_REMATCH[1] >= $5 && BASH_REMATCH[1] <= $5 + 9)) || continue
    REPLY=${BASH_REMATCH[3]}
    if [[ -z ${BASH_REMATCH[2]} ]]; then REPLY+=' yes'; fi
  done < <(conntrack -L -f "ipv$1" -p tcp -s "$2" -d "$3" --dport "$4" 2>/dev/null)
}

# <to> [--net=FILE] [<curl option>...]: does a TCP connection succeed, in this network namespace or in the namespace
# of FILE? If curl supports telnet, no data is sent: an invalid option makes curl exit as soon as it is connected.
connects() {
  local time code to=$1 url=telnet://$1 options=(--telnet-option NONE) program=(curl)
  if [[ $(curl -V 2>/dev/null) != *' telnet'* ]]; then url=http://$to options=(); fi
  shift
  if [[ ${1:-} == --net=* ]]; then
    # busybox's nsenter has only the short option, and would read curl's options as its own.
    program=(nsenter "-n${1#--net=}" -- curl)
    shift
  fi
  set -- -q -g -s -o /dev/null -w '%{time_connect}' --noproxy '*' "$@" \
    --connect-timeout "$probe_seconds" --max-time "$probe_seconds"
  time=$("${program[@]}" "$@" ${options[@]+"${options[@]}"} "$url" </dev/null 2>/dev/null)
  code=$?
  # Some versions of curl reject the invalid option before they connect.
  if ((code == 49)) && ! is_positive "$time"; then time=$("${program[@]}" "$@" "$url" </dev/null 2>/dev/null); fi
  is_positive "$time"
}

# <number>
is_positive() { [[ $1 =~ [1-9] ]]; }
