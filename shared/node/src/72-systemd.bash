# --- systemd ---

has_systemd() { [[ -d /run/systemd/system ]] && has systemctl; }

# <unit>: prints the text of the unit.
print_unit() {
  local variable unit=$1 order='' section='Type=oneshot' command=repair
  case $unit in
    # The rules are restored after all services that load or flush tables at boot, but before the kubelet starts, so
    # that they exist before the first pod.
    peermasq.service) order="ConditionPathExists=$DIR/ruleset
Before=kubelet.service
After=nftables.service iptables.service netfilter-persistent.service firewalld.service" ;;
    peermasq-watch.service) command=watch section=$'Restart=always\nRestartSec=5' ;;
  esac
  printf '# Written by peermasq, removed by: peermasq.sh remove\n[Unit]\nDescription=peermasq: %s\n' "${unit#peermasq-}"
  if [[ $unit == *.timer ]]; then
    printf '\n[Timer]\nOnActiveSec=60\nOnUnitInactiveSec=60\nAccuracySec=5\n\n[Install]\nWantedBy=timers.target\n'
    return
  fi
  printf 'Wants=network-online.target\nAfter=network-online.target\n%s\n\n[Service]\n%s\n' "$order" "$section"
  printf 'ExecStart=%s %s/peermasq.sh %s\n' "$BASH" "$DIR" "$command"
  for variable in PEERMASQ_DIR PEERMASQ_BACKEND PEERMASQ_INTERVAL GCE_METADATA_HOST; do
    if [[ ${!variable:-} =~ ^[A-Za-z0-9._/:-]+$ ]]; then printf 'Environment=%s=%s\n' "$variable" "${!variable}"; fi
  done
  if [[ $unit != peermasq-repair.service ]]; then printf '\n[Install]\nWantedBy=multi-user.target\n'; fi
}

# <folder> <unit>...: writes the units. REPLY is "yes" if a unit was missing or different.
write_units() {
  local folder=$1 unit changed=''
  shift
  for unit; do
    print_unit "$unit" >"$WORK/unit"
    same_text "$WORK/unit" "$folder/$unit" && continue
    changed=yes
    { store_file "$WORK/unit" "$folder/$unit" && chmod 644 "$folder/$unit"; } 2>/dev/null || return 1
  done
  REPLY=$changed
}

# <changed> <flag> <unit>...: enables units that changed, and starts the units that run all the time: the timer and
# watch.
start_units() {
  local changed=$1 runtime=$2 unit
  shift 2
  if [[ -n $changed ]]; then
    systemctl daemon-reload || return 1
  fi
  for unit; do
    if [[ -n $changed && $unit != peermasq-repair.service ]]; then
      systemctl enable --quiet ${runtime:+"$runtime"} "$unit" || return 1
    fi
    [[ $unit == *.timer || $unit == *-watch.service ]] || continue
    if [[ -n $changed ]] || ! systemctl is-active --quiet "$unit"; then
      systemctl restart "$unit" || return 1
    fi
  done
}

# <unit>...: installs and starts the units in the first writable folder. Sets PERSISTED.
install_units() {
  local folder runtime='' changed=yes unit
  PERSISTED=no
  for folder in $unit_folders; do
    if write_units "$folder" "$@"; then
      changed=$REPLY
      break
    fi
  done
  if [[ $folder == /run/* ]]; then runtime=--runtime; fi
  if start_units "$changed" "$runtime" "$@" >&2 9>&- 8>&-; then
    PERSISTED=systemd
    if [[ -n $runtime || $DIR == /run/* ]]; then PERSISTED=runtime; fi
    return
  fi
  # If the unit files were kept, the next run would take the units as installed and would not retry.
  for unit; do rm -f -- "$folder/$unit"; done
  warn 'systemd rejected the units: the rules are lost at a reboot, and drift is not repaired'
}

# Keeps the rules across reboots, and repairs them when they drift. Sets PERSISTED. Never fails, because the rules are
# already in force.
persist() {
  PERSISTED=no
  [[ ${PEERMASQ_PERSIST:-1} != 0 ]] || return 0
  if ! has_systemd; then
    warn 'systemd is not running: the rules are lost at a reboot, and drift is not repaired'
  elif ! store_program; then
    warn 'the program was not run from a file: the rules are lost at a reboot'
  elif has_watch_unit; then
    # watch repairs drift, so the timer is not needed.
    install_units peermasq.service
  else
    install_units peermasq.service peermasq-repair.service peermasq-repair.timer
  fi
}

has_watch_unit() {
  local folder
  for folder in $unit_folders; do
    [[ -f $folder/peermasq-watch.service ]] && return
  done
  return 1
}

# Sets PERSISTED according to the installed units.
read_persisted() {
  local folder
  PERSISTED=no
  for folder in $unit_folders; do
    [[ -f $folder/peermasq.service && -f $DIR/peermasq.sh ]] || continue
    PERSISTED=systemd
    if [[ $folder == /run/* || $DIR == /run/* ]]; then PERSISTED=runtime; fi
    return
  done
}

# Removes the units. Fails if there were none.
remove_units() {
  local folder unit found=''
  for folder in $unit_folders; do
    for unit in peermasq-watch.service peermasq-repair.timer peermasq-repair.service peermasq.service; do
      [[ -e $folder/$unit ]] || continue
      found=yes
      if has_systemd; then systemctl disable --quiet --now "$unit" >&2 9>&-; fi
      rm -f -- "$folder/$unit" || warn "cannot remove $folder/$unit"
    done
  done
  [[ -n $found ]] || return 1
  if has_systemd; then systemctl daemon-reload >&2 9>&-; fi
  return 0
}
