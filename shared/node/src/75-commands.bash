# --- Commands ---

# [make_folder]: checks the environment, and sets the variables that all commands share. Creates the folder on request.
prepare() {
  check_environment "$@"
  make_work
}

# [make_folder]: does the work of prepare, except for WORK.
check_environment() {
  local tool line=''
  DIR=${PEERMASQ_DIR:-/var/lib/peermasq} WAIT=${PEERMASQ_WAIT:-10} INTERVAL=${PEERMASQ_INTERVAL:-60}
  ((EUID == 0)) || fail 'must be run as root'
  if [[ ! $DIR =~ ^(/[A-Za-z0-9._-]+)+$ || $DIR =~ /\.\.?(/|$) ]]; then
    refuse 'invalid PEERMASQ_DIR: expected an absolute path of [A-Za-z0-9._-]'
  fi
  if [[ ! $WAIT$INTERVAL =~ ^[0-9]{2,8}$ || $INTERVAL -eq 0 ]]; then
    refuse 'invalid PEERMASQ_WAIT or PEERMASQ_INTERVAL: expected a number of seconds'
  fi
  case ${PEERMASQ_BACKEND:-auto} in
    auto | iptables | iptables-nft | iptables-legacy | nft) ;;
    *) refuse 'invalid PEERMASQ_BACKEND: expected auto, iptables, iptables-nft, iptables-legacy or nft' ;;
  esac
  for tool in $required_tools; do
    has "$tool" || fail "$tool is not installed; install its package (flock: util-linux; most others: coreutils)"
  done
  if [[ -f $0 ]]; then
    { read -r _; read -r line; } <"$0"
    if [[ $line == "$marker" ]]; then PROGRAM=$0; fi
  fi
  check_folder
  if (($# > 0)); then "$1"; fi
  trap on_exit EXIT
}

# Prints the usage to stderr and exits.
exit_usage() {
  usage >&2
  exit 2
}

command_apply() {
  local file=-
  case $#:${1:-} in
    0:) ;;
    2:--file) file=$2 ;;
    *) exit_usage ;;
  esac
  prepare make_folder
  if ! load_ruleset "$file"; then
    read_stored
    has_space || fail "no space left for temporary files in $WORK"
    refuse "$ERROR"
  fi
  lock
  read_stored
  check_generation
  mv -f -- "$WORK/ruleset" "$DIR/.ruleset.new" || fail "cannot write to $DIR"
  converge apply
}

# Refuses a rule set that is older than the one in force. Also refuses a rule set from the future, because no current
# rule set could replace it.
check_generation() {
  if is_in_future "$GENERATION"; then
    CODE=clock-skew
    refuse "generation $GENERATION is more than a day ahead of the clock of this node: expected the time in milliseconds"
  fi
  [[ -n $STORED_ID ]] || return 0
  if ((GENERATION < STORED_GENERATION)); then
    if is_in_future "$STORED_GENERATION"; then CODE=clock-skew; fi
    refuse "generation $GENERATION is older than generation $STORED_GENERATION, which is in force"
  fi
  if [[ $GENERATION -eq $STORED_GENERATION && $ID != "$STORED_ID" ]]; then
    refuse "generation $GENERATION is in force with different content: expected a newer generation"
  fi
}

# <generation>: is the generation more than a day ahead of the node's clock? After a boot, the clock may be wrong until
# it is synchronized. If the last report was stored at a later time, that time is used instead.
is_in_future() {
  local now reported earliest=$(($1 / 1000 - 86400))
  printf -v now '%(%s)T' -1
  ((earliest > now)) || return 1
  reported=$(exec stat -c %Y -- "$DIR/status" 2>/dev/null)
  ((earliest > ${reported:-0}))
}

command_repair() {
  check_environment
  if is_still_proven; then
    FINISHED=yes
    printf '%s\n' "$PROOF_REPORT"
    exit
  fi
  # The rules may change until this run has the lock.
  forget_kernel
  if [[ -z $WORK ]]; then make_work; fi
  lock
  load_stored || finish 0 unchanged "$ERROR"
  converge repair
}

# Loads the stored rule set. Fails with ERROR if there is none.
load_stored() {
  read_stored
  if [[ -z $STORED_ID ]]; then
    error 'no rule set has been applied'
    return 1
  fi
  load_ruleset "$DIR/ruleset" || fail "the stored rule set is damaged: $ERROR"
  if is_in_future "$GENERATION"; then
    warn "generation $GENERATION of the rule set in force is from the future: newer rule sets are refused"
  fi
}

# <command>: applies the loaded rule set where the kernel's rules differ from it, and reports the result.
converge() {
  local code was_proven='' had_pods=yes
  stored_status
  if [[ $REPLY == *'"proven":true'* ]]; then was_proven=yes; fi
  if [[ $REPLY == *"\"$no_pods\""* ]]; then had_pods=''; fi
  select_backend || fail "$ERROR"
  REQUESTED_CHAINS=() UNCOMPARED=''
  if [[ $1 == repair ]]; then
    read_files
    add_kernel
  fi
  read_network
  observe
  RESULT=unchanged
  if [[ $ID != "$STORED_ID" || ${#DRIFT[@]} -gt 0 ]]; then
    RESULT=applied
    apply_rules
    code=$?
    if ((code != 0)); then rm -f -- "$DIR/.ruleset.new"; fi
    case $code in
      0) clean_up ;;
      4) busy "$ERROR" ;;
      *) fail "$ERROR" ;;
    esac
  fi
  if [[ $1 == apply ]]; then
    mv -f -- "$DIR/.ruleset.new" "$DIR/ruleset" || warn "cannot write to $DIR: the rule set is not stored"
  fi
  STORED_ID=$ID STORED_GENERATION=$GENERATION
  if [[ $1 == apply || $RESULT == applied ]]; then
    flush_stale_connections
    persist
    prove_paths
    run_probes
  else
    read_persisted
    prove_paths
    # Once a node has its first pods, the probes can be sent from them.
    if [[ -z $was_proven || -z $had_pods && $PODS_FOUND -gt 0 ]]; then run_probes; fi
  fi
  prove
  count_ports
  if [[ $1 == repair ]]; then store_proof; fi
  finish 0 "$RESULT"
}

# Reads the rules back from the kernel after a change. Once the new rules are in force, removes everything that only
# the old rules used.
clean_up() {
  local backend drift
  observe
  for drift in ${DRIFT[@]+"${DRIFT[@]}"}; do
    [[ $drift == 'rules left in '* ]] || return
  done
  for backend in iptables-nft iptables-legacy; do
    [[ $backend != "$BACKEND" ]] || continue
    if has_rules_in "$backend"; then
      remove_rules "$backend" || warn "$ERROR"
    fi
  done
  if ((${#DRIFT[@]} > 0)); then observe; fi
  if [[ $BACKEND != nft ]] && uses_sets; then remove_sets "$ID"; else remove_sets ''; fi
}

# Sets PROVEN, or CODE and REASON if something is not proven.
prove() {
  local drift address family
  for address in $UNCONFIRMED; do
    family=4
    if [[ ${address%@*} == *:* ]]; then family=6; fi
    [[ "$CONFIRMED " == *" $address "* ]] ||
      foreign_address "$family" \
        "pods' packets leave with ${address%@*} instead of the node's own address, and no probe shows that peers \
reply to it"
  done
  if ((${#DRIFT[@]} > 0)); then
    printf -v drift ', %s' "${DRIFT[@]}"
    CODE=drift REASON="the kernel does not have the expected rules: ${drift:2}"
  fi
  find_ebpf
  if [[ -n $EBPF_CODE ]]; then not_proven "$EBPF_CODE" "$EBPF_REASON"; fi
  if [[ -z $REASON$CODE ]]; then PROVEN=true; fi
}

command_status() {
  prepare
  RESULT=status
  if load_stored; then
    select_backend || fail "$ERROR"
    read_network
    observe
    prove_paths
    stored_status
    if [[ $REPLY == *'"reached":false'* ]]; then not_proven probe-failed 'a probe failed when it was last run'; fi
    prove
    count_ports
  fi
  find_masqueraders
  read_persisted
  print_report
}

# Sets MASQUERADERS, starting with those in the backend that is in use.
find_masqueraders() {
  local backend family order='iptables-nft iptables-legacy'
  if [[ $BACKEND == iptables-legacy ]]; then order='iptables-legacy iptables-nft'; fi
  MASQUERADERS=()
  for backend in $order; do
    for family in 4 6; do iptables_masqueraders "$backend" "$family"; done
  done
  nft_masqueraders
}

command_probe() {
  prepare
  load_stored || finish 0 probed "$ERROR"
  select_backend || fail "$ERROR"
  read_network
  observe
  read_persisted
  prove_paths
  run_probes
  prove
  finish 0 probed
}

command_remove() {
  local family backend file code found
  prepare
  lock
  read_stored
  # Loads the stored rule set, because it determines the families in which there may be rules.
  if [[ -n $STORED_ID ]]; then load_ruleset "$DIR/ruleset"; fi
  REMOVED=''
  # Deletes the ip rules first, because no packet is steered without them.
  for family in 4 6; do
    has_steer_rule "$family" || continue
    REMOVED=yes
    toggle_steer_rule "$family" || warn "$ERROR"
  done
  for backend in $backends; do
    is_installed "$backend" || continue
    remove_rules "$backend"
    code=$?
    case $code in
      0) ;;
      4) busy "$ERROR" ;;
      *) fail "$ERROR" ;;
    esac
  done
  found=$REMOVED
  remove_sets ''
  if remove_units; then found=yes; fi
  if stop_watch; then found=yes; fi
  for file in ruleset status peermasq.sh snapshot watch.log watch.lock; do
    [[ -e $DIR/$file ]] || continue
    if rm -f -- "$DIR/$file"; then found=yes; fi
  done
  rm -f -- "$DIR/proof" "$DIR/.proof.new" "$DIR/.ruleset.new" "$DIR/.status.new" "$DIR/peermasq.sh.new" "$DIR/snapshot.new" "$DIR/lock"
  sweep_work 0
  remove_work
  rmdir -- "$DIR" 2>/dev/null
  STORED_ID='' STORED_GENERATION='' RULES=0
  if [[ -n $LEFTOVER ]]; then fail "$LEFTOVER"; fi
  if [[ -n $found ]]; then finish 0 removed; else finish 0 unchanged; fi
}

# Stops a watch process that runs without systemd. Fails if there is none.
stop_watch() {
  local pid
  [[ -f $DIR/watch.lock ]] || return 1
  exec 8<>"$DIR/watch.lock" || return 1
  flock -n 8 && return 1
  read -r pid <&8
  [[ $pid =~ ^[1-9][0-9]*$ ]] || return 1
  kill -TERM "$pid"
  # Waits for the lock, which watch releases only after it has removed its temporary files.
  take_lock 8 "$WAIT" || warn "watch (process $pid) is still stopping"
}
