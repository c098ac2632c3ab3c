# --- Stale connections ---

# Deletes the conntrack entries of connections that hang because they started before the rules were applied. The next
# retransmitted SYN is then handled like the first packet of a new connection. Sets FLUSHED.
flush_stale_connections() {
  local line family filter flows='' deadline=$((SECONDS + flush_seconds))
  if ! has conntrack; then
    warn 'conntrack is not installed: connections that already hang keep hanging'
    return
  fi
  { read -r flows </proc/sys/net/netfilter/nf_conntrack_count; } 2>/dev/null
  [[ $flows != 0 ]] || return 0
  for family in 4 6; do
    ((${COUNT[masquerade $family]:-0} > 0)) || continue
    conntrack -L -f "ipv$family" >"$WORK/flows" 2>/dev/null || continue
    while IFS= read -r line; do
      if [[ $line == *'[UNREPLIED]'* ]] && stale_flow "$line"; then
        read -r -a filter <<<"$REPLY"
        if run conntrack -D "${filter[@]}"; then FLUSHED=$((FLUSHED + 1)); fi
      fi
      if ((SECONDS > deadline)); then
        warn "flushed only $FLUSHED stale connections: stopped after $flush_seconds s"
        return
      fi
    done <"$WORK/flows"
  done
}

# <line>: REPLY is the flow as arguments for conntrack. Fails unless the flow is unanswered, was not NATed, and would
# now be masqueraded. A line of `conntrack -L` shows first the flow as it was sent, then the reply that is expected.
stale_flow() {
  local source destination arguments protocol=${1%% *} flow=${1#*src=}
  source=${flow%% *} flow=${flow#*dst=} destination=${flow%% *}
  [[ $flow == *'[UNREPLIED] '*" dst=$source "* ]] || return 1
  parse_address "$source" || return 1
  is_source || return 1
  parse_address "$destination" || return 1
  contains_address masquerade || return 1
  contains_address exempt && return 1
  arguments="-p $protocol -s $source -d $destination"
  if [[ $flow =~ ^[^\ ]+\ sport=([0-9]+)\ dport=([0-9]+)\  ]]; then
    arguments+=" --sport ${BASH_REMATCH[1]} --dport ${BASH_REMATCH[2]}"
  fi
  REPLY=$arguments
}
