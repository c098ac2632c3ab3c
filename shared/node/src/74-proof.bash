# --- The last proof ---
# Most repairs find nothing that has changed since the node was last proven. So repair stores a proof: its report,
# followed by what the kernel printed about everything on which the proof rests. If the next repair reads the same text
# again, it prints the stored report and ends.
#
# A proof is used for only a few minutes, because it does not contain everything that a full check reads: not which
# backend the kubelet uses, not Cilium's settings, and not programs at tcx hooks if bpftool is not installed.

# With the minute timer, a full check begins no later than ten minutes after the one before.
readonly proof_seconds=530
# Programs whose absence changes what is checked.
readonly optional_tools='iptables-nft ip6tables-nft iptables-legacy ip6tables-legacy iptables ip6tables nft ipset ip tc bpftool
  nsenter conntrack curl'
# The stored proof: its report; the time at which it ends, in seconds since the boot; the chains on which it rests. The
# header is the text of these three, one per line.
PROOF_REPORT='' PROOF_END=0 PROOF_CHAINS=() PROOF_HEADER=''
# The state of the node that was read last, without chains; and whether all loaded BPF programs were read since.
STATE='' HAS_DEEP_CHECK=''

# REPLY: the ID of this boot, and the time since then in seconds.
read_uptime() {
  local boot='' seconds=''
  { read -r boot </proc/sys/kernel/random/boot_id; read -r seconds _ </proc/uptime; } 2>/dev/null
  REPLY="$boot ${seconds%%.*}"
}

# Reads the header of the stored proof. Fails if there is no proof from this boot, or if its time is over.
read_proof() {
  local boot now proof_boot times chains
  PROOF_END=0
  [[ -f $DIR/proof && -O $DIR/proof && ! -L $DIR/proof ]] || return
  { IFS= read -r PROOF_REPORT; IFS= read -r times; IFS= read -r chains; } <"$DIR/proof"
  PROOF_HEADER=$PROOF_REPORT$'\n'$times$'\n'$chains$'\n'
  IFS=$'\t' read -r -a PROOF_CHAINS <<<"$chains"
  read -r proof_boot PROOF_END <<<"$times"
  read_uptime
  read -r boot now <<<"$REPLY"
  if [[ $proof_boot != "$boot" || ! $PROOF_END =~ ^[0-9]{1,12}$ ]] || ((PROOF_END <= now)); then PROOF_END=0; fi
  ((PROOF_END > 0))
}

# Is the node in exactly the state of the stored proof?
is_still_proven() {
  local flows=0 text
  [[ -n $PROGRAM ]] || return
  # A run that was killed has left a newer rule set.
  [[ -f $DIR/.ruleset.new ]] && return 1
  # After a failed proof, only a full check can show that the node is proven again.
  stored_status
  [[ $REPLY == *'"proven":true'* ]] || return
  read_proof || return
  # Source ports may run out.
  { read -r flows </proc/sys/net/netfilter/nf_conntrack_count; } 2>/dev/null
  is_full "$flows" "$shown_percent" && return 1
  text=$(<"$DIR/proof")
  read_files
  [[ $text == "$PROOF_HEADER$STATE"* ]] || return
  add_kernel
  add_chains ${PROOF_CHAINS[@]+"${PROOF_CHAINS[@]}"}
  [[ $text == "$PROOF_HEADER$STATE" ]]
}

# Sets STATE to the part that can be read without a process.
read_files() {
  local name tool line
  read_persisted
  STATE="${PEERMASQ_BACKEND:-auto} $PERSISTED"$'\n'$FILE_VERSIONS
  for tool in $optional_tools; do
    if has "$tool"; then STATE+="$tool "; fi
  done
  STATE+=$'\n'
  for name in /proc/net/ip_tables_names /proc/net/ip6_tables_names; do
    if [[ -r $name ]]; then
      while read -r line; do STATE+="$name $line"$'\n'; done <"$name"
    fi
  done
}

# Adds what the kernel prints to STATE, except chains and sets.
add_kernel() {
  local family name
  HAS_DEEP_CHECK=''
  add_network
  add_bpf_programs
  if list_nft_tables; then STATE+=$NFT_TABLES; fi
  while read -r _ family name; do
    if [[ $name == peermasq ]]; then
      STATE+=$(exec nft -s list table "$family" peermasq 2>/dev/null)$'\n'
    elif [[ $family == ip || $family == ip6 || $family == inet ]] && is_native_table "$family" "$name"; then
      if ! read_native_table "$family" "$name"; then STATE+='unreadable '; fi
      STATE+=${NATIVE_TEXTS[$family $name]}$'\n'
    fi
  done <<<"$NFT_TABLES"
}

# Adds addresses, routes, interfaces, their settings, and ip rules to STATE. Leaves out lifetimes that count down.
add_network() {
  local text line added='' commands=$'addr show\nroute show table all\nlink show\nnetconf show\nrule show'
  text=$(exec ip -o -force -batch - <<<"$commands" 2>/dev/null)
  if [[ $text =~ _lft\ [0-9]|\ expires\ [0-9] ]]; then
    split_lines "$text"
    for line in "${LINES_OF_TEXT[@]}"; do
      line=${line%% valid_lft *}
      if [[ $line =~ ^(.*)\ expires\ [0-9]+sec(.*)$ ]]; then line=${BASH_REMATCH[1]}${BASH_REMATCH[2]}; fi
      added+=$line$'\n'
    done
    STATE+=$added
  else
    STATE+=$text$'\n'
  fi
  ip_rules 6
  STATE+=$REPLY$'\n'
}

# Adds the BPF programs on devices to STATE.
add_bpf_programs() {
  local text line batch=''
  if has bpftool; then
    STATE+=$(exec bpftool net show 2>/dev/null)$'\n'
    return
  fi
  has tc || return 0
  text=$(exec tc qdisc show 2>/dev/null)
  STATE+=$text$'\n'
  split_lines "$text"
  for line in ${LINES_OF_TEXT[@]+"${LINES_OF_TEXT[@]}"}; do
    # shellcheck disable=SC2086 # split on purpose
    set -- $line
    if [[ ${2:-} == clsact || ${2:-} == ingress ]]; then
      batch+="filter show dev $5 ingress"$'\n'"filter show dev $5 egress"$'\n'
    fi
  done
  [[ -n $batch ]] || return 0
  STATE+=$(exec tc -force -batch - <<<"$batch" 2>&1)$'\n'
}

# <key of TABLE_TEXTS>...: adds these chains and tables to STATE, without their counters, and the sets of our rules. Comes
# last.
add_chains() {
  local key line text name added
  for key; do
    added=$key$'\n'
    # shellcheck disable=SC2086 # split on purpose
    set -- $key
    text=''
    if (($# == 4)); then
      if read_chain "$@"; then text=${TABLE_TEXTS[$key]}; else added+=$'missing\n'; fi
    elif save_table "$@"; then
      IFS= read -r -d '' text <"$REPLY"
    else
      added+=$'unreadable\n'
    fi
    split_lines "$text"
    for line in ${LINES_OF_TEXT[@]+"${LINES_OF_TEXT[@]}"}; do
      case $line in
        '#'*) ;;
        :*) added+=${line%% \[*}$'\n' ;;
        *) added+=${line#*\] }$'\n' ;;
      esac
    done
    while [[ $text =~ \ --match-set\ (peermasq-[^ ]+)\ (.*)$ ]]; do
      name=${BASH_REMATCH[1]} text=${BASH_REMATCH[2]}
      read_set "$name"
      added+=${SET_TEXTS[$name]}$'\n'
    done
    STATE+=$added
  done
  STATE+=end
}

# Stores the proof of this run if the run changed nothing. All the text in it was read before the check began, or is what
# the check itself used. So if anything changed during the check, the next run finds a difference.
store_proof() {
  local boot now until=$PROOF_END text='' basis=(${BASIS[@]+"${BASIS[@]}"})
  [[ $RESULT == unchanged && $PROVEN == true && -n $PROGRAM && -z $UNCOMPARED && ${#PORTS[@]} -eq 0 ]] || return 0
  read_uptime
  read -r boot now <<<"$REPLY"
  if [[ -n $HAS_DEEP_CHECK ]]; then until=$((now + proof_seconds)); fi
  add_chains ${REQUESTED_CHAINS[@]+"${!REQUESTED_CHAINS[@]}"}
  printf -v text '%s\t' ${REQUESTED_CHAINS[@]+"${!REQUESTED_CHAINS[@]}"}
  TZ=UTC printf -v now 'unchanged since %(%FT%TZ)T' -1
  BASIS+=("$now")
  render_report
  BASIS=(${basis[@]+"${basis[@]}"})
  store_text proof "$REPLY"$'\n'"$boot $until"$'\n'"$text"$'\n'"$STATE"
}
