# --- watch ---

# CHILD is the process to kill on TERM. RETRY_REASON is set if a retry is due soon.
CHILD='' RETRY_REASON=''
# STATUS is the last report, SENT is the report in the guest attribute, and REFUSAL is the report that says why the last
# rule set was refused.
STATUS='' SENT='' REFUSAL=''
CHECKED_AT=0

command_watch() {
  case $#:${1:-} in
    0:) ;;
    1:--install)
      prepare make_folder
      install_watch
      FINISHED=yes
      return
      ;;
    *) exit_usage ;;
  esac
  prepare make_folder
  [[ -n $PROGRAM ]] || fail 'watch must be run from a file: bash peermasq.sh watch'
  has curl || fail 'watch needs curl'
  [[ ${GCE_METADATA_HOST:-x} =~ ^[A-Za-z0-9.:-]+$ ]] || refuse 'invalid GCE_METADATA_HOST: expected a host'
  METADATA=http://${GCE_METADATA_HOST:-169.254.169.254}/computeMetadata/v1/instance
  exec 8<>"$DIR/watch.lock" 5<"$WORK"
  # While watch holds the lock on $WORK, other commands do not remove its temporary files.
  flock 5
  flock -n 8 || busy "another watch is running in $DIR"
  printf '%s\n' "$$" >"$DIR/watch.lock"
  trap 'if [[ -n $CHILD ]]; then kill "$CHILD" 2>/dev/null; fi; exit 0' TERM INT
  FINISHED=yes
  : >"$WORK/started"
  PROGRAM_SUM=$(sha256sum <"$PROGRAM")
  watch_loop
}

# Keeps watch running from now on: under systemd or, without systemd, in the background until the next boot.
install_watch() {
  store_program || fail 'watch --install must be run from a file: bash peermasq.sh watch --install'
  if has_systemd && [[ ${PEERMASQ_PERSIST:-1} != 0 ]]; then
    install_units peermasq-watch.service
    [[ $PERSISTED == no ]] || return 0
  fi
  setsid "$BASH" "$DIR/peermasq.sh" watch </dev/null >>"$DIR/watch.log" 2>&1 &
}

# Follows the metadata and repairs drift, forever. Retries after a failure, with growing delays from 1 to 16 seconds.
watch_loop() {
  local backoff=1 began
  while :; do
    began=$SECONDS RETRY_REASON=''
    follow_metadata
    if was_reinstalled; then restart_watch; fi
    check_drift
    send_status
    if [[ -n $RETRY_REASON ]]; then
      pause "$backoff"
      backoff=$((backoff * 2 > 16 ? 16 : backoff * 2))
    else
      backoff=1
      # If a server responds immediately although nothing changed, polling without a pause would be a busy loop.
      if ((SECONDS == began)); then pause 1; fi
    fi
  done
}

# <command>...: runs the command so that TERM ends it immediately.
interruptible() {
  local code
  "$@" 8>&- &
  CHILD=$!
  wait "$CHILD"
  code=$?
  CHILD=''
  return "$code"
}

# <seconds>: sleeps for this time plus up to half a second, so that the nodes of a cluster do not act at the same time.
pause() { interruptible sleep "$1.$((RANDOM % 5))"; }

# <command>...: runs a command of this program in a separate process, with the report in $WORK/report.
run_self() { interruptible "$BASH" "$PROGRAM" "$@" >"$WORK/report"; }

# Repairs drift between metadata changes.
check_drift() {
  local report
  ((SECONDS - CHECKED_AT >= INTERVAL)) || return 0
  CHECKED_AT=$SECONDS
  # The node's clock may have been corrected since.
  if [[ $REFUSAL == *'"code":"clock-skew"'* ]]; then
    rm -f -- "$WORK/applied"
    follow_ruleset
  fi
  # Other processes change the rules while this process keeps running.
  forget_kernel
  check_folder
  is_still_proven && return
  if ! run_self repair; then RETRY_REASON='repair failed'; fi
  report=$(<"$WORK/report")
  # If a check finds nothing new, its report is not sent. It would hide the report that the last rule set was refused.
  case $report:$STATUS in
    '{"result":"failed"'*) STATUS=$report ;;
    '{"result":"unchanged"'*:'{"result":"failed"'*) STATUS=${REFUSAL:-$report} ;;
    '{"result":"unchanged"'*)
      if [[ -z $REFUSAL ]] && has_changed "$report"; then STATUS=$report; fi
      ;;
    *) STATUS=${REFUSAL:-$report} ;;
  esac
  if [[ $report == *'"id":null'* && -z $REFUSAL ]]; then forget_applied; fi
}

# <report>: does the report differ from the last one in whether the node is proven, or in the warning about source
# ports?
has_changed() {
  local proven=${1#*'"proven":'} was_proven=${STATUS#*'"proven":'} full='' was_full=''
  if [[ $1 == *' source ports in use'* ]]; then full=yes; fi
  if [[ $STATUS == *' source ports in use'* ]]; then was_full=yes; fi
  [[ ${proven%%,*} != "${was_proven%%,*}" || $full != "$was_full" ]]
}
