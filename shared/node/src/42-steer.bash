# --- Steering ---
# If pods' packets leave through a secondary interface (the VPC CNI), masquerading would give them the address of that
# interface, to which a peer may have no route. Our mark therefore makes the kernel route the packets with table main,
# so that they leave through the node's primary interface.

# A bit that these programs do not use: kube-proxy 0x4000 and 0x8000, the VPC CNI 0x80, portmap 0x2000, Calico
# 0xffff0000, Cilium 0xf00 and its upper half, Tailscale 0xff0000, Istio 0x539 and 0x111, Talos KubeSpan 0x60.
readonly steer_mark=0x1000/0x1000
# The VPC CNI manages ip rules of priority 20, 512, 1024, 1535 and 1536. Its rules for single pods (1536) come after
# our rule; its rules for branch interfaces (10) come before.
readonly steer_rule="priority 1100 fwmark $steer_mark lookup main"
# The VPC CNI's mark in packets and connections. Its ip rule of priority 1024 also sends packets with this mark to
# table main.
readonly cni_mark=0x80/0x80 primary_note='by the primary interface'
# The families whose ip rule change_steer_rules has added or removed.
CHANGED_RULES=''

# Is the mark set in our nft table? That does not depend on which backend masquerades. In the mangle table
# of iptables, another program's rule (Calico's, for example) can accept packets before our rule marks them. In nft,
# these packets still reach our chain.
steers_with_nft() { list_nft_tables; }

# <family>: can a rule of another program in table mangle keep pods' packets from being steered? STOPPING is that rule.
# Its place does not matter, because some programs (Calico's Felix) move their rules to the top when they restart.
may_bypass_steering() {
  local rule rules chains=' '
  [[ -n ${STEERED[$1]} && $BACKEND != nft ]] || return
  steers_with_nft && return 1
  select_table mangle
  STOPPING=''
  iptables_save_chain "$BACKEND" "$1" mangle "$HOOK" || return 0
  mapfile -t rules <"$WORK/chain"
  for rule in ${rules[@]+"${rules[@]}"}; do
    rule=${rule#*\] }
    [[ $rule != *" -j $OWN" ]] || continue
    stops_pods "$BACKEND" "$1" mangle "$rule" && return
  done
  return 1
}

# <family>: does our ip rule exist?
has_steer_rule() {
  local priority rule
  ip_rules "$1"
  while read -r priority rule; do
    [[ $priority == 1100: && $rule == "from all fwmark $steer_mark lookup main" ]] && return 0
  done <<<"$REPLY"
  return 1
}

# Adds the ip rules that this rule set needs, and removes those that it does not need. Added ip rules have no effect
# until packets are marked; removing an ip rule ends steering before any other rule changes. Fails with ERROR and code
# 3.
change_steer_rules() {
  local family found
  CHANGED_RULES=''
  for family in 4 6; do
    found=''
    if has_steer_rule "$family"; then found=yes; fi
    [[ $found != "${STEERED[$family]}" ]] || continue
    toggle_steer_rule "$family" || return
    CHANGED_RULES+="$family "
  done
}

undo_steer_rules() {
  local family
  for family in $CHANGED_RULES; do toggle_steer_rule "$family" || warn "$ERROR"; done
}

# <family>: adds our ip rule, or removes it if it exists. Fails with ERROR and code 3.
toggle_steer_rule() {
  local verb=add
  if has_steer_rule "$1"; then verb=del; fi
  # shellcheck disable=SC2086 # split on purpose
  run ip "-$1" rule "$verb" $steer_rule && return
  command_error "ip -$1 rule $verb"
  return 3
}

# <family>: compares the ip rule in the kernel with the rule set, and adds differences to DRIFT.
observe_steer_rule() {
  local note=''
  if [[ $1 == 6 ]]; then note=' (IPv6)'; fi
  if has_steer_rule "$1"; then
    if [[ -z ${STEERED[$1]} ]]; then DRIFT+=("unexpected ip rule$note"); fi
  elif [[ -n ${STEERED[$1]} ]]; then
    DRIFT+=("ip rule missing$note")
  fi
}
