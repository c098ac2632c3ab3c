# --- Kept files and persistence ---

keep_text() { printf '%s\n' "$2" >"$DIR/.$1.new" && mv -f -- "$DIR/.$1.new" "$DIR/$1"; }

kept_status() { [[ ! -r $DIR/status ]] || printf '%s' "$(<"$DIR/status")"; }

keep_program() {
  [[ -n $PROGRAM ]] || return 1
  [[ $PROGRAM -ef $DIR/peermasq.sh ]] && return
  keep_file "$PROGRAM" "$DIR/peermasq.sh"
}

# Copies $1 to $2, so that a reader sees the old or the new file, whole.
keep_file() { cmp -s -- "$1" "$2" || { cp -- "$1" "$2.new" && mv -f -- "$2.new" "$2"; }; }

read_kept() {
  local line pattern='^generation ([0-9]{1,16})$'
  KEPT_ID='' KEPT_GENERATION=''
  [[ -f $DIR/ruleset ]] || return 0
  { read -r line && read -r line; } <"$DIR/ruleset"
  if [[ $line =~ $pattern ]] && ruleset_id "$DIR/ruleset"; then
    KEPT_ID=$REPLY KEPT_GENERATION=${BASH_REMATCH[1]}
  else
    warn 'the kept rule set is damaged: it counts as none'
  fi
  return 0
}

# The text of unit $1.
unit_text() {
  local variable wants='' section='Type=oneshot' command=repair
  case $1 in
    # Before the kubelet: the first pod finds the rules. After whatever loads or flushes tables at boot.
    peermasq.service) wants="ConditionPathExists=$DIR/ruleset
Before=kubelet.service
After=nftables.service iptables.service netfilter-persistent.service firewalld.service" ;;
    peermasq-watch.service) command=watch section=$'Restart=always\nRestartSec=5' ;;
  esac
  printf '# Written by peermasq; "peermasq.sh remove" takes it away.\n[Unit]\nDescription=peermasq: %s\n' "${1#peermasq-}"
  if [[ $1 == *.timer ]]; then
    printf '\n[Timer]\nOnActiveSec=60\nOnUnitInactiveSec=60\nAccuracySec=5\n\n[Install]\nWantedBy=timers.target\n'
    return
  fi
  printf 'Wants=network-online.target\nAfter=network-online.target\n%s\n\n[Service]\n%s\n' "$wants" "$section"
  printf 'ExecStart=%s %s/peermasq.sh %s\n' "$BASH" "$DIR" "$command"
  for variable in PEERMASQ_DIR PEERMASQ_BACKEND PEERMASQ_INTERVAL GCE_METADATA_HOST; do
    [[ ${!variable:-} =~ ^[A-Za-z0-9._/:-]+$ ]] && printf 'Environment=%s=%s\n' "$variable" "${!variable}"
  done
  [[ $1 == peermasq-repair.service ]] || printf '\n[Install]\nWantedBy=multi-user.target\n'
}

has_systemd() { [[ -d /run/systemd/system ]] && has systemctl; }

# Writes units $2... to folder $1. CHANGED tells whether one was not there like this.
write_units() {
  local folder=$1 unit
  shift
  CHANGED=''
  for unit; do
    unit_text "$unit" >"$WORK/unit"
    cmp -s "$WORK/unit" "$folder/$unit" && continue
    CHANGED=yes
    { keep_file "$WORK/unit" "$folder/$unit" && chmod 644 "$folder/$unit"; } 2>/dev/null || return 1
  done
}

# Enables the units where they changed, and starts what runs all the time: the timer and watch.
start_units() {
  local runtime=$1 unit
  shift
  [[ -z $CHANGED ]] || systemctl daemon-reload || return 1
  for unit; do
    [[ -z $CHANGED || $unit == peermasq-repair.service ]] || systemctl enable --quiet ${runtime:+"$runtime"} "$unit" || return 1
    [[ $unit == *.timer || $unit == *-watch.service ]] || continue
    if [[ -n $CHANGED ]] || ! systemctl is-active --quiet "$unit"; then systemctl restart "$unit" || return 1; fi
  done
}

# Installs and starts units in the first folder that takes them. Sets PERSISTED.
install_units() {
  local folder runtime='' unit
  PERSISTED=no
  for folder in $unit_folders; do write_units "$folder" "$@" && break; done
  [[ $folder != /run/* ]] || runtime=--runtime
  if start_units "$runtime" "$@" >&2 9>&- 8>&-; then
    PERSISTED=systemd
    [[ -z $runtime && $DIR != /run/* ]] || PERSISTED=runtime
  else
    # Units that look as if they were installed would not be tried again.
    for unit; do rm -f -- "$folder/$unit"; done
    warn 'systemd did not take the units: the rules are gone after a reboot, and drift is not repaired'
  fi
}

# Keeps the rules over a reboot and repairs them. Sets PERSISTED; never fails, because the rules are in force.
persist() {
  PERSISTED=no
  [[ ${PEERMASQ_PERSIST:-1} != 0 ]] || return 0
  has_systemd || { warn 'systemd does not run here: the rules are gone after a reboot, and drift is not repaired' && return; }
  if ! keep_program; then
    warn "the program did not come as a file that can be kept: the rules are gone after a reboot"
  elif has_watch_unit; then
    # It repairs drift itself.
    install_units peermasq.service
  else
    install_units peermasq.service peermasq-repair.service peermasq-repair.timer
  fi
}

has_watch_unit() {
  local folder
  for folder in $unit_folders; do [[ -f $folder/peermasq-watch.service ]] && return; done
  return 1
}

# Sets PERSISTED from what is installed.
read_persisted() {
  local folder
  PERSISTED=no
  for folder in $unit_folders; do
    [[ -f $folder/peermasq.service && -f $DIR/peermasq.sh ]] || continue
    PERSISTED=systemd
    [[ $folder == /run/* || $DIR == /run/* ]] && PERSISTED=runtime
    return 0
  done
}

# Takes the units away. Fails where there were none.
remove_units() {
  local folder unit found=1
  for folder in $unit_folders; do
    for unit in peermasq-watch.service peermasq-repair.timer peermasq-repair.service peermasq.service; do
      [[ -e $folder/$unit ]] || continue
      found=0
      ! has_systemd || systemctl disable --quiet --now "$unit" >&2 9>&-
      rm -f -- "$folder/$unit" || warn "cannot remove $folder/$unit"
    done
  done
  ((found != 0)) || ! has_systemd || systemctl daemon-reload >&2 9>&-
  return "$found"
}

