# --- Probes ---

# <family>: REPLY is a local address that is a source, or empty (any address) if there are no sources. Fails if none is.
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

# Runs the probes in parallel. Adds to PROBED, and sets REASON if one fails.
run_probes() {
  local i count=${#PROBES[@]} family from reached skipped=''
  ((count > 0)) || return 0
  if ! has curl; then
    warn 'curl is not installed: probes are not run'
    return
  fi
  if ((count > max_probes)); then count=$max_probes; fi
  for ((i = 0; i < count; i++)); do
    family=4
    if [[ ${PROBES[i]} == \[* ]]; then family=6; fi
    if pod_address "$family"; then
      printf '%s' "$REPLY" >"$WORK/from.$i"
      run_probe "$REPLY" "${PROBES[i]}" "$WORK/reached.$i" 9>&- 8>&- &
    else
      skipped=yes
    fi
  done
  if [[ -n $skipped ]]; then warn 'no address in the pod range on this node: its probes are not run'; fi
  wait
  for ((i = 0; i < count; i++)); do
    [[ -f $WORK/from.$i ]] || continue
    from=$(<"$WORK/from.$i") reached=$(<"$WORK/reached.$i")
    if [[ $reached != true ]]; then REASON="probe ${PROBES[i]} from ${from:-the node} failed"; fi
    from=${from:+\"$from\"}
    PROBED+=("{\"to\":\"${PROBES[i]}\",\"from\":${from:-null},\"reached\":$reached}")
  done
}

# <from> <to> <file>: writes "true" to the file if a TCP connection succeeds, otherwise "false". Where curl supports
# telnet it sends no byte: the invalid option makes it exit once it is connected, and not before.
run_probe() {
  local time code from=$1 to=$2 file=$3 url=telnet://$2 options=(--telnet-option NONE)
  if [[ $(curl -V 2>/dev/null) != *' telnet'* ]]; then url=http://$to options=(); fi
  set -- -q -g -s -o /dev/null -w '%{time_connect}' --noproxy '*' ${from:+--interface "$from"} \
    --connect-timeout "$probe_seconds" --max-time "$probe_seconds"
  time=$(curl "$@" ${options[@]+"${options[@]}"} "$url" </dev/null 2>/dev/null)
  code=$?
  # Some versions reject the option before they connect.
  if ((code == 49)) && ! is_positive "$time"; then time=$(curl "$@" "$url" </dev/null 2>/dev/null); fi
  if is_positive "$time"; then printf true; else printf false; fi >"$file"
}

# <number>
is_positive() { [[ $1 =~ [1-9] ]]; }
