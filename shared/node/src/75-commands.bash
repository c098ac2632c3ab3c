# --- Commands ---

prepare() {
  local tool line=''
  DIR=${PEERMASQ_DIR:-/var/lib/peermasq} WAIT=${PEERMASQ_WAIT:-10} INTERVAL=${PEERMASQ_INTERVAL:-60}
  ((EUID == 0)) || fail 'must be run as root'
  [[ $DIR =~ ^(/[A-Za-z0-9._-]+)+$ && ! $DIR =~ /\.\.?(/|$) ]] || refuse 'PEERMASQ_DIR is not an absolute path of [A-Za-z0-9._-]'
  [[ $WAIT$INTERVAL =~ ^[0-9]{2,8}$ && $INTERVAL -gt 0 ]] || refuse 'PEERMASQ_WAIT or PEERMASQ_INTERVAL is not a number of seconds'
  case ${PEERMASQ_BACKEND:-auto} in
    auto | iptables | iptables-nft | iptables-legacy | nft) ;;
    *) refuse 'PEERMASQ_BACKEND is unknown; accepted are: auto, iptables, iptables-nft, iptables-legacy, nft' ;;
  esac
  for tool in flock sha256sum gzip base64 mktemp head tail tr wc sort cmp cp mv; do
    has "$tool" || fail "$tool is missing; install the package that brings it (flock: util-linux, cmp: diffutils)"
  done
  WORK=$(mktemp -d) || fail 'cannot make a temporary folder'
  trap end EXIT
  [[ -f $0 ]] && { read -r line && read -r line; } <"$0" && [[ $line == "$marker" ]] && PROGRAM=$0
}

# What lies in the folder is run as root at boot, so nobody else may write there.
make_folder() {
  { mkdir -p -- "$DIR" && : >>"$DIR/lock"; } 2>/dev/null || fail "cannot write to $DIR; set PEERMASQ_DIR to a folder that can be written"
  [[ -O $DIR && $(stat -c %A -- "$DIR") == d????-??-? ]] || refuse "$DIR belongs to or can be written by others than root"
}

# Takes the lock, or ends as busy. remove deletes the file, so the lock must be on the one that is there.
lock() {
  local deadline=$((SECONDS + WAIT))
  while :; do
    make_folder
    exec 9>>"$DIR/lock"
    flock -w $((deadline > SECONDS ? deadline - SECONDS : 0)) 9 ||
      { read_kept && busy "another peermasq holds $DIR/lock for more than $WAIT s"; }
    [[ $DIR/lock -ef /proc/self/fd/9 ]] && return
  done
}

command_apply() {
  local file=-
  case $#:${1:-} in 0:) ;; 2:--file) file=$2 ;; *) usage >&2 && exit 2 ;; esac
  prepare
  load "$file" || { read_kept && refuse "$FAULT"; }
  lock
  read_kept
  refuse_stale
  cp -- "$WORK/ruleset" "$DIR/.ruleset.new" || fail "cannot write to $DIR"
  converge apply
}

refuse_stale() {
  [[ -n $KEPT_ID ]] || return 0
  ((GENERATION >= KEPT_GENERATION)) || refuse "generation $GENERATION is older than $KEPT_GENERATION, which is in force"
  [[ $GENERATION -gt $KEPT_GENERATION || $ID == "$KEPT_ID" ]] ||
    refuse "generation $GENERATION is in force with another content; accepted is a newer generation"
}

command_repair() {
  prepare
  lock
  load_kept || finish 0 unchanged "$FAULT"
  converge repair
}

# Loads the kept rule set. Fails, with FAULT, where there is none.
load_kept() {
  read_kept
  FAULT='no rule set has been applied here' && [[ -n $KEPT_ID ]] || return 1
  load "$DIR/ruleset" || fail "the kept rule set is damaged: $FAULT"
}

# Brings the kernel to the rule set that is loaded, and reports.
converge() {
  local code was_proven=''
  [[ $(kept_status) == *'"proven":true'* ]] && was_proven=yes
  select_backend || fail "$FAULT"
  observe
  RESULT=unchanged
  if [[ $ID != "$KEPT_ID" || ${#DRIFT[@]} -gt 0 ]]; then
    RESULT=applied
    change
    code=$?
    ((code == 0)) || rm -f -- "$DIR/.ruleset.new"
    case $code in 0) ;; 4) busy "$FAULT" ;; *) fail "$FAULT" ;; esac
    tidy
  fi
  [[ $1 == repair ]] || mv -f -- "$DIR/.ruleset.new" "$DIR/ruleset" || warn "cannot write to $DIR: the rule set is not kept"
  KEPT_ID=$ID KEPT_GENERATION=$GENERATION
  if [[ $1 == apply || $RESULT == applied ]]; then
    heal
    persist
    run_probes
  else
    read_persisted
    [[ -n $was_proven ]] || run_probes
  fi
  prove
  finish 0 "$RESULT"
}

# After a change: reads back and, once the new rules are seen, takes away what served the old ones.
tidy() {
  local backend line
  observe
  for line in ${DRIFT[@]+"${DRIFT[@]}"}; do [[ $line == 'rules left in '* ]] || return; done
  for backend in $backends; do
    [[ $backend == "$BACKEND" ]] || ! carries "$backend" || withdraw "$backend" || warn "$FAULT"
  done
  ((${#DRIFT[@]} == 0)) || observe
  if [[ $BACKEND != nft ]] && uses_sets; then sets_clear "$ID"; else sets_clear ''; fi
}

prove() {
  local drift
  if ((${#DRIFT[@]} > 0)); then
    printf -v drift ', %s' "${DRIFT[@]}"
    REASON="the kernel does not show what was meant: ${drift:2}"
  fi
  [[ -n $REASON ]] || PROVEN=true
}

command_status() {
  prepare
  RESULT=status
  if load_kept && { select_backend || fail "$FAULT"; }; then
    observe
    [[ $(kept_status) != *'"reached":false'* ]] || REASON='a probe did not get through when it was last run'
    prove
  fi
  find_masqueraders
  read_persisted
  print_report
}

find_masqueraders() {
  local backend family rules=$RULES packets=$PACKETS
  for backend in iptables-nft iptables-legacy; do
    for family in 4 6; do iptables_read "$backend" "$family"; done
  done
  nft_masqueraders
  RULES=$rules PACKETS=$packets
}

command_probe() {
  prepare
  load_kept || finish 0 probed "$FAULT"
  select_backend || fail "$FAULT"
  observe
  read_persisted
  run_probes
  prove
  finish 0 probed
}

command_remove() {
  local backend file found=''
  prepare
  lock
  read_kept
  for backend in $backends; do
    carries "$backend" || continue
    found=yes
    withdraw "$backend" || { (($? == 4)) && busy "$FAULT"; } || fail "$FAULT"
  done
  sets_clear ''
  remove_units && found=yes
  end_watch && found=yes
  for file in ruleset status peermasq.sh snapshot watch.log watch.lock; do
    [[ ! -e $DIR/$file ]] || { rm -f -- "$DIR/$file" && found=yes; }
  done
  rm -f -- "$DIR/.ruleset.new" "$DIR/.status.new" "$DIR/peermasq.sh.new" "$DIR/look.new" "$DIR/lock"
  rmdir -- "$DIR" 2>/dev/null
  KEPT_ID='' KEPT_GENERATION='' RULES=0
  if [[ -n $found ]]; then finish 0 removed; else finish 0 unchanged; fi
}

# Ends the watch that runs without systemd. Fails where none runs.
end_watch() {
  local pid
  [[ -f $DIR/watch.lock ]] && exec 8<>"$DIR/watch.lock" && ! flock -n 8 || return 1
  read -r pid <&8 && [[ $pid =~ ^[1-9][0-9]*$ ]] && kill -TERM "$pid"
}

