# --- iptables ---

# Our chain in the selected table, the jump that leads to it, and the hook that has the jump. Set by select_table.
OWN='' JUMP='' HOOK=''
# The results of iptables_read: our rules with counters, the same rules as text without counters, and our jumps. A jump
# is stored as a rule or, if iptables cannot print it, as its nft handle.
SAVED=() CHAIN='' HAS_CHAIN='' JUMPS=() JUMP_IS_REACHED=''
# The first rule before our jump, if there is one; the rule that can stop pods' packets; and the chains or rules that
# remove could not delete.
PRECEDING='' STOPPING='' LEFTOVER=''
# Whether iptables-restore is too old for the option -w, which was added in version 1.6.2.
LACKS_WAIT=''
readonly preceded="rules of other programs come before ours, but do not stop pods' packets"
readonly xtables_lock=${XTABLES_LOCKFILE:-/run/xtables.lock}

# <table>: selects nat, or mangle for steering on nodes without nft.
select_table() {
  case $1 in
    nat) OWN=PEERMASQ HOOK=POSTROUTING JUMP='-A POSTROUTING -m comment --comment peermasq -j PEERMASQ' ;;
    mangle)
      OWN=PEERMASQ-STEER HOOK=PREROUTING
      # Replies keep their path, and so do connections whose first packet was not masqueraded.
      JUMP='-A PREROUTING -m conntrack --ctstate NEW,SNAT --ctdir ORIGINAL -m comment --comment peermasq -j PEERMASQ-STEER'
      ;;
  esac
}

# <backend> <family> <table>: reads our jumps in the table and, if there are any, our chain. Fails with ERROR.
iptables_read() {
  SAVED=() CHAIN='' HAS_CHAIN='' JUMPS=() JUMP_IS_REACHED='' PRECEDING=''
  select_table "$3"
  # If the commands of this backend are not installed, the table cannot contain our rules.
  iptables_command "$1" "$2" '' || return 0
  lacks_table "$@" && return
  if iptables_save_chain "$@" "$HOOK"; then
    iptables_find_jumps "$@"
  elif nft_save_chain "$@" "$HOOK"; then
    nft_find_jumps "$@"
  else
    is_absent "$2" "$3"
    return
  fi
  if ((${#JUMPS[@]} > 0)); then iptables_read_chain "$@"; fi
}

# <backend> <family> <table>: reads our chain, whether or not a jump leads to it. Fails with ERROR.
iptables_read_chain() {
  local line
  iptables_command "$1" "$2" '' || return 0
  lacks_table "$@" && return
  if iptables_save_chain "$@" "$OWN"; then
    HAS_CHAIN=yes
    while IFS= read -r line; do
      SAVED+=("$line")
      CHAIN+=${line#*\] }$'\n'
    done <"$WORK/chain"
  elif nft_save_chain "$@" "$OWN"; then
    HAS_CHAIN=yes CHAIN=$'# a rule that iptables cannot print\n'
  else
    is_absent "$2" "$3"
  fi
}

# <family> <table>: is nothing of ours in a table of which a chain could not be read? That is certain if there is no such
# chain (no ERROR), or if the rule set has no rules in this table, regardless of the node's network. Some versions cannot
# distinguish an unreadable table from a missing one, so a table that is never used may be unreadable.
is_absent() {
  [[ -n $ERROR ]] || return 0
  ((FORMAT > 0)) || return
  if uses_family "$1"; then [[ $2 == mangle && -z $STEER ]]; fi
}

# <backend> <family> <table>: finds our jumps in the chain that iptables_save_chain has saved. Packets reach a single
# jump if no earlier rule can stop them. The jump does not have to be the first rule, because other programs also keep
# moving their own rules to the top.
iptables_find_jumps() {
  local rule rules earlier=() chains=' '
  mapfile -t rules <"$WORK/chain"
  for rule in ${rules[@]+"${rules[@]}"}; do
    rule=${rule#*\] }
    if [[ $rule == *" -j $OWN" ]]; then
      JUMPS+=("$rule")
    elif ((${#JUMPS[@]} == 0)); then
      earlier+=("$rule")
    fi
  done
  [[ ${JUMPS[*]-} == "$JUMP" ]] || return 0
  for rule in ${earlier[@]+"${earlier[@]}"}; do
    stops_pods "$@" "$rule" && return
  done
  JUMP_IS_REACHED=yes PRECEDING=${earlier[0]:-}
}

# <backend> <family> <table> <rule>: can this rule keep pods' packets from reaching our jump, if it comes before the
# jump? STOPPING is the rule that does. Adds to the caller's `chains`.
stops_pods() {
  may_match_pods "$4" || return
  arrives_elsewhere "$2" "$4" && return 1
  [[ $4 =~ .*\ -([jg])\ ([^ ]+) ]] || return
  STOPPING=$4
  # No packet returns from a goto to the chain that it left. In the chain of the hook, it therefore skips our jump.
  [[ ${BASH_REMATCH[1]} == g && $4 == "-A $HOOK "* ]] && return
  case ${BASH_REMATCH[1]}:${BASH_REMATCH[2]} in
    # In the chain of the hook, RETURN skips our jump. In other chains, the packet only returns to the calling chain.
    j:RETURN) [[ $4 == "-A $HOOK "* ]] ;;
    # A dropped packet does not need our rules.
    j:DROP | j:MASQUERADE | j:MARK | j:CONNMARK | j:LOG | j:NFLOG | j:SET | j:TRACE | j:TEE) return 1 ;;
    j:TCPMSS | j:TCPOPTSTRIP | j:DSCP | j:TOS | j:ECN | j:TTL | j:HL | j:CLASSIFY | j:CHECKSUM) return 1 ;;
    *) chain_stops_pods "${@:1:3}" "${BASH_REMATCH[2]}" ;;
  esac
}

# <backend> <family> <table> <target>: can a jump to this target keep pods' packets from reaching our jump? Also true if
# that is unknown. Each chain is read once.
chain_stops_pods() {
  local rule rules known
  [[ $chains != *" $4 "* ]] || return
  chains+="$4 "
  read -r -a known <<<"$chains"
  ((${#known[@]} <= max_chains)) || return 0
  iptables_save_chain "$@" || return 0
  mapfile -t rules <"$WORK/chain"
  for rule in ${rules[@]+"${rules[@]}"}; do
    stops_pods "${@:1:3}" "${rule#*\] }" && return
  done
  return 1
}

# <family> <rule>: does the rule match only packets that arrive on an uplink or on the loopback interface? Packets of
# pods do not.
arrives_elsewhere() {
  [[ ${2%% -m *} =~ [^!]\ -i\ ([^ ]+) ]] || return
  [[ ${BASH_REMATCH[1]} == lo ]] && return
  is_uplink "$1" "${BASH_REMATCH[1]}"
}

# <backend> <family> <table>: finds our jumps in the chain that nft_save_chain has saved. nft does not print all matches
# of a jump, so iptables has to check whether it is exactly the jump that we write.
nft_find_jumps() {
  local line position=0 is_first=''
  while read -r line; do
    case $line in
      'table '* | 'chain '*) continue ;;
      *" jump $OWN #"* | *" goto $OWN #"*)
        if ((position == 0)); then is_first=yes; fi
        JUMPS+=("handle ${line##* }")
        ;;
    esac
    if [[ $line == *' # handle '* ]]; then position=$((position + 1)); fi
  done <"$WORK/chain"
  [[ -n $is_first && ${#JUMPS[@]} -eq 1 ]] || return 0
  iptables_command "$1" "$2" ''
  # shellcheck disable=SC2086 # split on purpose
  if "$REPLY" -t "$3" -C ${JUMP#-A } >/dev/null 2>&1; then JUMPS=("$JUMP") JUMP_IS_REACHED=yes; fi
}

# Adds the number of rules that iptables_read found to RULES, and the number of packets that they masqueraded to
# PACKETS.
iptables_count() {
  local line count
  for line in ${SAVED[@]+"${SAVED[@]}"}; do
    RULES=$((RULES + 1)) count=${line#\[}
    if [[ $line == *' -j MASQUERADE'* ]]; then PACKETS=$((PACKETS + ${count%%:*})); fi
  done
}

# <backend> <family>: adds to MASQUERADERS the chains of other programs that rewrite source addresses.
iptables_masqueraders() {
  local rule
  iptables_command "$1" "$2" '' || return 0
  find_rules_after "$1" "$2" nat POSTROUTING || return 0
  for rule in ${REACHED[@]+"${REACHED[@]}"}; do
    case $rule in
      '-A POSTROUTING '*' -j MASQUERADE'* | '-A POSTROUTING '*' -j SNAT'*) add_masquerader "direct: $rule" ;;
      '-A '*' -j MASQUERADE'* | '-A '*' -j SNAT'* | 'nft '*masquerade* | 'nft '*'snat to'*)
        rule=${rule#* }
        add_masquerader "${rule%% *}"
        ;;
    esac
  done
}

# <name>
add_masquerader() {
  local known
  ((${#MASQUERADERS[@]} < 20)) || return 0
  for known in ${MASQUERADERS[@]+"${MASQUERADERS[@]}"}; do
    [[ $known == "$1" ]] && return 0
  done
  MASQUERADERS+=("$1")
}

# <family> <table>: REPLY is our chain in the form that iptables-save prints, so that the same text is used to write
# the chain and to compare it.
iptables_render() {
  local text='' device
  select_table "$2"
  if [[ $2 == mangle ]]; then
    each_exemption iptables_exemption "$1"
    each_masquerade_rule iptables_steer "$1"
    if sees_vpc_cni "$1"; then iptables_primary_interface; fi
  else
    for device in ${SPARED[$1]}; do
      text+="-A PEERMASQ -o $device -m comment --comment \"peermasq: $spared_note\" -j RETURN"$'\n'
    done
    if [[ -n ${LEFT[$1]} ]]; then
      text+="-A PEERMASQ -m comment --comment \"peermasq: $left_note\" -j RETURN"$'\n'
    else
      each_exemption iptables_exemption "$1"
      each_masquerade_rule iptables_masquerade "$1"
    fi
  fi
  REPLY=$text
}

# <family> <index> <name>: appends an exemption to the caller's `text`.
iptables_exemption() {
  local match
  if [[ -n $2 ]]; then
    match="-d ${CIDRS[$2]}"
  else
    set_name exempt "$1"
    match="-m set --match-set $REPLY dst"
  fi
  text+="-A $OWN $match -m comment --comment \"peermasq: $3\" -j RETURN"$'\n'
}

# <family> <source> <destination> <name>: appends a masquerade rule to the caller's `text`.
iptables_masquerade() {
  iptables_match "$@"
  text+="-A PEERMASQ$REPLY -m addrtype ! --dst-type LOCAL -m comment --comment \"peermasq: $4\" -j MASQUERADE"
  text+="${RANDOM_FULLY:+ --random-fully}"$'\n'
}

# <family> <source> <destination> <name>: appends a steering rule to the caller's `text`.
iptables_steer() {
  local OUT=''
  iptables_match "$@"
  text+="-A PEERMASQ-STEER$REPLY -m comment --comment \"peermasq: $4\" -j MARK --set-xmark $steer_mark"$'\n'
}

# Appends to the caller's `text` a rule that sets the VPC CNI's mark on connections through the primary interface. If
# the CNI uses nft, its chain runs after table mangle and overwrites any other mark on a connection's first packet.
iptables_primary_interface() {
  text+="-A PEERMASQ-STEER -m mark --mark $steer_mark -m comment --comment \"peermasq: $primary_note\""
  text+=" -j CONNMARK --set-xmark $cni_mark"$'\n'
}

# <family> <source> <destination>: REPLY is the match on the source, the destination and the output interface.
iptables_match() {
  local set=''
  if [[ -z $3 ]]; then
    set_name masquerade "$1"
    set=" -m set --match-set $REPLY dst"
  fi
  REPLY="${2:+ -s ${CIDRS[$2]}}${3:+ -d ${CIDRS[$3]}}${OUT:+ -o $OUT}$set"
}

# <backend> <family>: runs the transaction in $WORK/transaction. Fails with ERROR and code 3, or with code 4 if
# another program holds the lock.
iptables_commit() {
  local command
  if ! iptables_command "$1" "$2" -restore; then
    error "$1 has no command for IPv$2"
    return 3
  fi
  command=$REPLY
  if [[ $1 == iptables-legacy ]]; then
    iptables_legacy_commit "$command"
    return
  fi
  run "$command" --noflush <"$WORK/transaction" && return
  command_error "$command"
  return 3
}

# <command>: runs the transaction with iptables-legacy, which is the only backend with a lock. Fails with ERROR and code
# 3 or 4.
iptables_legacy_commit() {
  local text code options=(-w "$WAIT")
  if [[ -n $LACKS_WAIT ]]; then
    options=()
    hold_xtables_lock || return
  fi
  run "$1" --noflush ${options[@]+"${options[@]}"} <"$WORK/transaction"
  code=$?
  exec 7>&-
  ((code == 0)) && return
  text=$(<"$WORK/errors")
  if [[ -z $LACKS_WAIT && $text == *"invalid option -- 'w'"* ]]; then
    LACKS_WAIT=yes
    iptables_legacy_commit "$1"
    return
  fi
  command_error "$1"
  [[ $text == *'holding the xtables lock'* ]] && return 4
  return 3
}

# Takes the lock that iptables 1.6 and newer use, because iptables-restore before 1.6.2 does not take it. Closing
# descriptor 7 releases the lock. Fails with ERROR and code 3 or 4.
hold_xtables_lock() {
  if ! { exec 7>>"$xtables_lock"; } 2>/dev/null; then
    error "cannot open $xtables_lock"
    return 3
  fi
  take_lock 7 "$WAIT" && return
  error "another program holds $xtables_lock"
  return 4
}

# Prints lines that delete our jumps by their text. Rule numbers would be unsafe, because another program may insert a
# rule after we have read the table. If a jump no longer exists, the line that deletes it fails, and so does the whole
# transaction.
print_jump_deletions() {
  local line
  for line in ${JUMPS[@]+"${JUMPS[@]}"}; do
    if [[ $line == '-A '* ]]; then printf -- '-D%s\n' "${line#-A}"; fi
  done
}

# <family> <table>: deletes the jumps that only nft can show. Fails with ERROR and code 3.
nft_delete_jumps() {
  local jump commands=''
  nft_family "$1"
  for jump in ${JUMPS[@]+"${JUMPS[@]}"}; do
    if [[ $jump == 'handle '* ]]; then commands+="delete rule $REPLY $2 $HOOK $jump; "; fi
  done
  [[ -n $commands ]] || return 0
  run nft "$commands" && return
  command_error nft
  return 3
}

# <family> <table> <rules>: in one transaction, fills our chain with these rules and, unless packets already reach a
# single jump to it, makes a single jump the first rule of the hook.
iptables_replace() {
  local code=3 attempt
  for attempt in 1 2 3; do
    iptables_try_replace "$@"
    code=$?
    ((code == 3)) || break
    log "attempt $attempt: $ERROR"
  done
  return "$code"
}

# <family> <table> <rules>: makes one attempt of iptables_replace. Fails with ERROR and code 3 or 4.
iptables_try_replace() {
  if ! iptables_read "$BACKEND" "$1" "$2"; then
    # Some versions cannot read a table that does not exist. This transaction creates the table, or fails if the table
    # already has our chain.
    printf '*%s\n-N %s\nCOMMIT\n' "$2" "$OWN" >"$WORK/transaction"
    iptables_commit "$BACKEND" "$1"
    iptables_read "$BACKEND" "$1" "$2" || return 3
  fi
  {
    printf '*%s\n:%s - [0:0]\n%s' "$2" "$OWN" "$3"
    if [[ ${#JUMPS[@]} -ne 1 || -z $JUMP_IS_REACHED ]]; then
      print_jump_deletions
      printf -- '-I %s 1%s\n' "$HOOK" "${JUMP#"-A $HOOK"}"
    fi
    printf 'COMMIT\n'
  } >"$WORK/transaction"
  iptables_commit "$BACKEND" "$1" || return
  nft_delete_jumps "$1" "$2" || return
  [[ -n $LACKS_WAIT ]] || return 0
  # iptables 1.4 ignores the lock, so another program that uses it may have overwritten our change.
  iptables_read "$BACKEND" "$1" "$2" || return 3
  [[ $CHAIN == "$3" && ${#JUMPS[@]} -eq 1 && -n $JUMP_IS_REACHED ]] && return
  error 'another program changed the table at the same time'
  return 3
}

# <backend> <family> <table>: removes our chain and jumps. Fails with ERROR and code 3 or 4.
iptables_remove() {
  local code cause
  iptables_read "$1" "$2" "$3" || return 3
  if [[ -z $HAS_CHAIN ]]; then iptables_read_chain "$1" "$2" "$3" || return 3; fi
  [[ -n $HAS_CHAIN ]] || return 0
  REMOVED=yes
  nft_delete_jumps "$2" "$3" || return
  iptables_delete "$@" "-X $OWN"$'\n' && return
  code=$? cause=$ERROR
  # The kernel does not delete a chain while a rule of another program refers to it.
  if ((code != 3)) || ! iptables_find_reference "$@"; then
    error "$cause"
    return "$code"
  fi
  LEFTOVER="chain $OWN of $1 is empty, but cannot be deleted: $REPLY"
  warn "$LEFTOVER"
  iptables_delete "$@" ''
}

# <backend> <family> <table> <line>: deletes our jumps and rules, and then applies the line, in one transaction.
iptables_delete() {
  {
    printf '*%s\n' "$3"
    print_jump_deletions
    printf -- '-F %s\n%sCOMMIT\n' "$OWN" "$4"
  } >"$WORK/transaction"
  iptables_commit "$1" "$2"
}

# <backend> <family> <table>: REPLY is a rule that refers to our chain and is not one of our jumps. Fails if there is none.
iptables_find_reference() {
  if iptables_save "$@"; then
    REPLY=$(grep -E -- " -[jg] $OWN\$" "$REPLY" | grep -m 1 -vF -- "-A $HOOK ")
    REPLY=${REPLY#*\] }
  else
    nft_family "$2"
    REPLY=$(nft list table "$REPLY" "$3" 2>/dev/null | grep -m 1 -E " (jump|goto) $OWN\$")
  fi
  [[ -n $REPLY ]]
}

# Applies the rule set to both families, or to neither. Masquerade rules are added before the rules that steer, so
# that no packet is steered without being masqueraded. For the same reason, they are removed only after the ip rule that
# steers and after our chain in table mangle, which can also set the VPC CNI's mark. Fails with ERROR and code 3 or 4.
iptables_apply() {
  local family table tables step leftovers='' code=0 cause undo=()
  # Even if nft is used for steering, table mangle may still have our chain, which steers until the nft table is in
  # place.
  if steers_with_nft; then leftovers='4 6'; fi
  for family in 4 6; do
    tables='mangle nat'
    if [[ -n ${STEERED[$family]} ]]; then tables='nat mangle'; fi
    if [[ -n $leftovers ]]; then tables=nat; fi
    for table in $tables; do
      step="$family $table "
      if iptables_read "$BACKEND" "$family" "$table" && [[ -n $HAS_CHAIN ]]; then step+="yes $CHAIN"; fi
      iptables_apply_table "$family" "$table"
      code=$?
      ((code == 0)) || break 2
      undo=("$step" ${undo[@]+"${undo[@]}"})
    done
  done
  if ((code == 0)); then
    nft_apply
    code=$?
  fi
  if ((code != 0)); then
    cause=$ERROR
    if ! iptables_undo ${undo[@]+"${undo[@]}"}; then
      cause+="; restoring the previous rules failed too ($ERROR): run repair"
    fi
    error "$cause"
    return "$code"
  fi
  for family in $leftovers; do iptables_remove "$BACKEND" "$family" mangle || warn "$ERROR"; done
}

# <family> <table>: does the rule set have rules in this table?
uses_table() {
  if [[ $2 == nat ]]; then uses_family "$1"; else [[ -n ${STEERED[$1]} ]] && ! steers_with_nft; fi
}

# <family> <table>: writes our chain, or removes it if the rule set does not use it.
iptables_apply_table() {
  if uses_table "$1" "$2"; then
    iptables_render "$1" "$2"
    iptables_replace "$1" "$2" "$REPLY"
  else
    iptables_remove "$BACKEND" "$1" "$2"
  fi
}

# <step>...: restores the chains, starting with the last change. A step is "FAMILY TABLE yes RULES", or "FAMILY TABLE"
# if there was no chain.
iptables_undo() {
  local step family table existed rules
  for step; do
    read -r -d '' family table existed rules <<<"$step"
    if [[ -n $existed ]]; then
      iptables_replace "$family" "$table" "${rules:+$rules$'\n'}" || return
    else
      iptables_remove "$BACKEND" "$family" "$table" || return
    fi
  done
}

# <family>: compares our rules in the kernel with the rule set, and adds differences to DRIFT. A list of rules and a
# single rule with a set are treated as equivalent.
iptables_observe() {
  local family=$1 kind note=''
  if [[ $family == 6 ]]; then note=' (IPv6)'; fi
  iptables_observe_table "$family" nat "$note"
  iptables_observe_table "$family" mangle " for steering$note"
  for kind in exempt masquerade; do
    [[ ${FORM[$kind $family]} == set ]] || continue
    if ! set_is_current "$kind" "$family"; then DRIFT+=("set differs$note"); fi
  done
}

# <family> <table> <note>
iptables_observe_table() {
  local family=$1 table=$2 note=$3
  if ! iptables_read "$BACKEND" "$family" "$table"; then
    DRIFT+=("$ERROR")
    return
  fi
  if ! uses_table "$family" "$table"; then
    if [[ -n $HAS_CHAIN ]]; then DRIFT+=("unexpected chain$note"); fi
    return
  fi
  if [[ -z $HAS_CHAIN ]]; then iptables_read_chain "$BACKEND" "$family" "$table"; fi
  # A chain without a jump to it has no effect.
  if ((${#JUMPS[@]} > 0)); then iptables_count; fi
  if [[ $table == nat ]]; then iptables_recognize_forms "$family"; fi
  if [[ -z $HAS_CHAIN ]]; then
    DRIFT+=("chain missing$note")
  elif ! iptables_chain_is_current "$family" "$table"; then
    DRIFT+=("chain differs$note")
  fi
  case ${#JUMPS[@]} in
    0) DRIFT+=("jump missing$note") ;;
    1) if [[ -z $JUMP_IS_REACHED ]]; then DRIFT+=("jump not first$note"); fi ;;
    *) DRIFT+=("duplicate jump$note") ;;
  esac
  if [[ -n $PRECEDING && ${WARNINGS[*]-} != *"$preceded"* ]]; then warn "$preceded: $PRECEDING"; fi
}

# <family> <table>: is our chain, as it was read, the one that the rule set needs?
iptables_chain_is_current() {
  local count=${COUNT[masquerade $1]:-0}
  # A long list does not have to be rendered to know that a shorter one differs.
  if [[ $2 == nat && -z ${LEFT[$1]} && ${FORM[masquerade $1]} == list ]] && ((count > set_threshold && ${#SAVED[@]} < count)); then
    if [[ -n ${COUNT[source $1]:-} ]] || ! has_sources; then return 1; fi
  fi
  iptables_render "$1" "$2"
  [[ $CHAIN == "$REPLY" ]]
}

# <family>: sets FORM to the forms that our chain uses.
iptables_recognize_forms() {
  local kind
  for kind in exempt masquerade; do
    set_name "$kind" "$1"
    FORM[$kind $1]=list
    if [[ $CHAIN == *" --match-set $REPLY dst "* ]]; then FORM[$kind $1]='set'; fi
  done
}
