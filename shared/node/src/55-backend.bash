# --- Backends ---

# Sets BACKEND. Fails with ERROR.
select_backend() {
  local wanted=${PEERMASQ_BACKEND:-auto} found=''
  BACKEND=''
  case $wanted in
    auto)
      if detect_backend; then found=$REPLY; fi
      ;;
    iptables)
      if default_flavour; then found=iptables-$REPLY; fi
      ;;
    *)
      if is_installed "$wanted"; then found=$wanted; fi
      ;;
  esac
  if [[ -z $found ]]; then
    installed_backends
    error "PEERMASQ_BACKEND=$wanted, but it is not installed; installed: $REPLY"
    return
  fi
  BACKEND=$found
}

# REPLY: the installed backends, or a text that says that there is none.
installed_backends() {
  local backend found=''
  for backend in $backends; do
    if is_installed "$backend"; then found+="$backend "; fi
  done
  REPLY=${found:-neither iptables nor nft}
}

# <backend>
is_installed() { if [[ $1 == nft ]]; then has nft; else iptables_command "$1" 4 -restore; fi; }

# REPLY: the backend that the node's kubelet uses. Rules in another backend would also take effect, but in an order
# that neither backend shows. Fails if no backend is installed.
detect_backend() {
  local backend preferred
  preferred_backend
  preferred=$REPLY
  # Rules that cannot be read cannot be proven.
  for backend in $preferred $backends; do
    is_installed "$backend" || continue
    if [[ $backend == nft ]] || iptables_read "$backend" 4 nat; then
      REPLY=$backend
      return 0
    fi
  done
  REPLY=$preferred
  [[ -n $preferred ]]
}

# REPLY: the backend that should hold our rules, whether or not its rules can be read. Empty if no backend is installed.
preferred_backend() {
  local backend last best='' most=0
  for backend in iptables-nft iptables-legacy; do
    if has_kubelet_hint "$backend"; then
      REPLY=$backend
      return
    fi
  done
  for backend in iptables-nft iptables-legacy; do
    count_foreign_rules "$backend"
    if ((REPLY > most)); then most=$REPLY best=$backend; fi
  done
  if [[ -z $best ]] && stored_backend; then
    last=$REPLY
    if is_installed "$last"; then best=$last; fi
  fi
  if [[ -z $best ]] && default_flavour; then best=iptables-$REPLY; fi
  for backend in $backends; do
    if [[ -z $best ]] && is_installed "$backend"; then best=$backend; fi
  done
  REPLY=$best
}

# <backend>: does table mangle contain a chain that the kubelet creates to show which backend it uses?
has_kubelet_hint() {
  local family
  for family in 4 6; do
    lacks_table "$1" "$family" mangle && continue
    iptables_save_chain "$1" "$family" mangle KUBE-IPTABLES-HINT && return
    iptables_save_chain "$1" "$family" mangle KUBE-KUBELET-CANARY && return
  done
  return 1
}

# <backend>: REPLY is the number of rules in table nat that are not ours, or 1 if iptables cannot print the table.
count_foreign_rules() {
  local line count=0
  REPLY=0
  is_installed "$1" || return
  if ! iptables_save "$1" 4 nat; then
    REPLY=1
    return
  fi
  while IFS= read -r line; do
    if [[ $line == *' -A '* && $line != *PEERMASQ* ]]; then count=$((count + 1)); fi
  done <"$REPLY"
  REPLY=$count
}

# REPLY: the backend in the stored report. Fails if there is none.
stored_backend() {
  stored_status
  [[ $REPLY =~ $backend_pattern ]] || return 1
  REPLY=${BASH_REMATCH[1]}
}

# Reads the rules back from the kernel. Sets DRIFT, RULES and PACKETS.
observe() {
  local family backend
  DRIFT=() RULES=0 PACKETS=0
  choose_forms
  for family in 4 6; do
    if [[ $BACKEND != nft ]]; then iptables_observe "$family"; fi
    nft_observe "$family"
    observe_steer_rule "$family"
  done
  for backend in iptables-nft iptables-legacy; do
    [[ $backend != "$BACKEND" ]] || continue
    ERROR=''
    if has_rules_in "$backend"; then DRIFT+=("${ERROR:-rules left in $backend}"); fi
  done
}

# <backend>: are rules of ours in force in this variant of iptables? True with ERROR if that cannot be read.
has_rules_in() {
  local family table
  is_installed "$1" || return
  for family in 4 6; do
    for table in nat mangle; do
      iptables_read "$1" "$family" "$table" || return 0
      [[ -n $HAS_CHAIN ]] && return 0
    done
  done
  return 1
}

# <backend>: removes our chains and tables, and sets REMOVED if there were any. Fails with ERROR and code 3 or 4.
remove_rules() {
  local family
  if [[ $1 == nft ]]; then
    nft_remove
    return
  fi
  for family in 4 6; do
    # Steering is removed first, so that no packet is steered without being masqueraded.
    iptables_remove "$1" "$family" mangle || return
    iptables_remove "$1" "$family" nat || return
  done
}

# Applies the rule set. Fails with ERROR and code 3 or 4; the previous rules then stay in force.
apply_rules() {
  local code
  # Signals are ignored, so that a failed change is always rolled back.
  trap '' TERM INT HUP
  choose_forms
  change_steer_rules
  code=$?
  if ((code == 0)); then
    if [[ $BACKEND == nft ]]; then nft_apply; else apply_with_sets; fi
    code=$?
  fi
  if ((code != 0)); then
    undo_steer_rules
    remove_sets "$STORED_ID"
  fi
  trap - TERM INT HUP
  return "$code"
}

apply_with_sets() {
  local code
  if uses_sets; then
    if add_sets; then
      iptables_apply
      code=$?
      ((code == 3)) || return "$code"
    fi
    warn "cannot use a set ($ERROR): using individual rules instead, which slows down new connections"
    use_lists
  fi
  iptables_apply
}
