# --- Backends ---

readonly backends='iptables-nft iptables-legacy nft'

# Sets BACKEND. Fails with FAULT.
select_backend() {
  BACKEND=${PEERMASQ_BACKEND:-auto}
  case $BACKEND in
    auto) BACKEND='' && detect_backend && return ;;
    iptables) BACKEND='' && default_flavour && BACKEND=iptables-$REPLY && return ;;
    nft) has nft && return ;;
    *) iptables_command "$BACKEND" 4 -restore && return ;;
  esac
  FAULT="PEERMASQ_BACKEND=${PEERMASQ_BACKEND:-auto}, but it is not installed; there is: $(installed_backends)"
  BACKEND=''
  return 1
}

installed_backends() {
  local backend found=''
  for backend in $backends; do is_installed "$backend" && found+="$backend "; done
  printf '%s' "${found:-neither iptables nor nft}"
}

is_installed() { if [[ $1 == nft ]]; then has nft; else iptables_command "$1" 4 -restore; fi; }

# The backend of the node's kubelet: rules in the other one would be obeyed too, but in an order nobody can see.
detect_backend() {
  local backend best=0 count last
  for backend in iptables-nft iptables-legacy; do has_kubelet_hint "$backend" && BACKEND=$backend && return; done
  for backend in iptables-nft iptables-legacy; do
    count=$(foreign_rules "$backend")
    ((count > best)) && best=$count BACKEND=$backend
  done
  [[ -n $BACKEND ]] && return
  last=$(kept_backend) && is_installed "$last" && BACKEND=$last && return
  default_flavour && BACKEND=iptables-$REPLY && return
  for backend in $backends; do is_installed "$backend" && BACKEND=$backend && return; done
  return 1
}

# The chains that a kubelet leaves in table mangle so that others find its backend.
has_kubelet_hint() {
  local family text
  for family in 4 6; do
    iptables_save "$1" "$family" mangle || continue
    text=$(<"$WORK/table")
    [[ $text == *$'\n:KUBE-IPTABLES-HINT '* || $text == *$'\n:KUBE-KUBELET-CANARY '* ]] && return
  done
  return 1
}

foreign_rules() {
  local line count=0
  iptables_save "$1" 4 nat
  while IFS= read -r line; do [[ $line == *' -A '* && $line != *PEERMASQ* ]] && count=$((count + 1)); done <"$WORK/table"
  printf '%s' "$count"
}

kept_backend() {
  local pattern='"backend":"(iptables-nft|iptables-legacy|nft)"'
  [[ $(kept_status) =~ $pattern ]] && printf '%s' "${BASH_REMATCH[1]}"
}

# Reads the kernel back: sets DRIFT, RULES and PACKETS, adds to MASQUERADERS.
observe() {
  local family backend
  DRIFT=() RULES=0 PACKETS=0 MASQUERADERS=()
  choose_forms
  for family in 4 6; do "${BACKEND%-*}_observe" "$family"; done
  for backend in $backends; do
    [[ $backend == "$BACKEND" ]] || ! carries "$backend" || DRIFT+=("rules left in $backend")
  done
}

# Is anything of ours in a backend? Leaves RULES and PACKETS as they are.
carries() {
  local family rules=$RULES packets=$PACKETS found=1
  for family in 4 6; do
    if [[ $1 == nft ]]; then
      nft_read "$family" && found=0
    else
      iptables_read "$1" "$family" && [[ -n $HAS_CHAIN || ${#JUMPS[@]} -gt 0 ]] && found=0
    fi
  done
  RULES=$rules PACKETS=$packets
  return "$found"
}

# Takes ours away from a backend. Fails with 3 or 4 and FAULT.
withdraw() {
  local family
  for family in 4 6; do
    if [[ $1 == nft ]]; then
      nft_read "$family" || continue
      nft_family "$family"
      FAULT="nft: cannot delete table $REPLY peermasq" && nft delete table "$REPLY" peermasq 2>/dev/null || return 3
    else
      iptables_drop "$1" "$family" || return
    fi
  done
}

# Puts the rule set in force. Fails with 3 or 4 and FAULT; the previous rules are then in force.
change() {
  local code
  # Half a change and its way back are one step.
  trap '' TERM INT HUP
  choose_forms
  if [[ $BACKEND == nft ]]; then
    nft_change
    code=$?
  else
    iptables_change_with_sets
    code=$?
  fi
  trap - TERM INT HUP
  ((code == 0)) || sets_clear "$KEPT_ID"
  return "$code"
}

iptables_change_with_sets() {
  local code
  if uses_sets && sets_put; then
    iptables_change
    code=$?
    ((code == 3)) || return "$code"
  fi
  if uses_sets; then
    warn "no set can be used ($FAULT): the destinations are a list, which slows new connections"
    use_lists
  fi
  iptables_change
}

