# --- Probes ---

# REPLY: a local address of family $1 that lies in a source. Without sources: '' for any.
pod_address() {
  local line hex previous=''
  REPLY=''
  [[ -n ${COUNT[source 4]:-}${COUNT[source 6]:-} ]] || return 0
  if [[ $1 == 4 ]]; then
    while read -r line; do
      [[ $line == '/32 host LOCAL' ]] && parse_address "$previous" && is_in source && REPLY=$previous && return
      previous=${line##* }
    done </proc/net/fib_trie
  elif [[ -r /proc/net/if_inet6 ]]; then
    while read -r hex _; do
      FAMILY=6 HI=$((16#${hex:0:8} << 32 | 16#${hex:8:8})) LO=$((16#${hex:16:8} << 32 | 16#${hex:24:8}))
      is_in source && print_ipv6 && return
    done </proc/net/if_inet6
  fi
  return 1
}

# Runs the probes side by side. Adds to PROBED, and sets REASON where one did not get through.
run_probes() {
  local i count=${#PROBES[@]} from reached missing=''
  ((count > 0)) || return 0
  has curl || { warn 'curl is not installed: probes are not run' && return; }
  ((count <= max_probes)) || count=$max_probes
  for ((i = 0; i < count; i++)); do
    probe_family "${PROBES[i]}"
    if pod_address "$REPLY"; then
      printf '%s' "$REPLY" >"$WORK/from.$i"
      connects "$REPLY" "${PROBES[i]}" "$WORK/reached.$i" 9>&- 8>&- &
    else
      missing=yes
    fi
  done
  [[ -z $missing ]] || warn 'no address of the pod range on this node: its probes are not run'
  wait
  for ((i = 0; i < count; i++)); do
    [[ -f $WORK/from.$i ]] || continue
    from=$(<"$WORK/from.$i") reached=$(<"$WORK/reached.$i")
    [[ $reached == true ]] || REASON="probe ${PROBES[i]} from ${from:-the node} did not get through"
    from=${from:+\"$from\"}
    PROBED+=("{\"to\":\"${PROBES[i]}\",\"from\":${from:-null},\"reached\":$reached}")
  done
}

probe_family() { if [[ $1 == \[* ]]; then REPLY=6; else REPLY=4; fi; }

# Connects by TCP from address $1 to $2 and writes true or false to file $3. No byte is sent where curl speaks
# telnet: its wrong option makes curl end after the connection is made, not before.
connects() {
  local time code url=telnet://$2 options=(--telnet-option NONE)
  [[ $(curl -V 2>/dev/null) == *' telnet'* ]] || url=http://$2 options=()
  set -- "$1" "$3" -g -s -o /dev/null -w '%{time_connect}' --noproxy '*' ${1:+--interface "$1"} \
    --connect-timeout "$probe_seconds" --max-time "$probe_seconds"
  time=$(curl -q "${@:3}" ${options[@]+"${options[@]}"} "$url" </dev/null 2>/dev/null)
  code=$?
  ((code != 49)) || is_time "$time" || time=$(curl -q "${@:3}" "$url" </dev/null 2>/dev/null)
  if is_time "$time"; then printf true; else printf false; fi >"$2"
}

is_time() { [[ $1 =~ [1-9] ]]; }

