# --- Healing ---

# Removes the flows that hang because they began before the rules: a retransmitted SYN keeps the fate that
# its first packet was given. Sets HEALED.
heal() {
  local line family deadline=$((SECONDS + heal_seconds))
  has conntrack || { warn 'conntrack is not installed: connections that hang already go on hanging' && return; }
  for family in 4 6; do
    ((${COUNT[masquerade $family]:-0} > 0)) || continue
    conntrack -L -f "ipv$family" >"$WORK/flows" 2>/dev/null || continue
    while IFS= read -r line; do
      [[ $line == *'[UNREPLIED]'* ]] && hangs "$line" &&
        conntrack -D -p "$PROTOCOL" "${FLOW[@]}" >/dev/null 2>&1 && HEALED=$((HEALED + 1))
      ((SECONDS <= deadline)) || { warn "stopped healing after $HEALED flows, to be in time" && return; }
    done <"$WORK/flows"
  done
}

# Is the flow unanswered and un-NATed, and would the rules now masquerade it? If so: PROTOCOL, FLOW (its options
# for conntrack). A line of conntrack -L tells the flow as sent and then as answered.
hangs() {
  local source destination flow=${1#*src=}
  source=${flow%% *} flow=${flow#*dst=} destination=${flow%% *}
  [[ $flow == *'[UNREPLIED] '*" dst=$source "* ]] || return 1
  parse_address "$source" && is_source || return 1
  parse_address "$destination" && is_in masquerade && ! is_in exempt || return 1
  PROTOCOL=${1%% *} FLOW=(-s "$source" -d "$destination")
  [[ $flow =~ ^[^\ ]+\ sport=([0-9]+)\ dport=([0-9]+)\  ]] && FLOW+=(--sport "${BASH_REMATCH[1]}" --dport "${BASH_REMATCH[2]}")
  return 0
}

