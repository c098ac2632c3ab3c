# --- iptables ---

# What iptables_read found: our rules with their counters as saved, the same as text without counters, and our jumps.
SAVED=() CHAIN='' HAS_CHAIN='' JUMPS=() JUMP_IS_FIRST=''

# <program>: is it installed?
has() {
  local folder IFS=:
  for folder in $PATH; do
    [[ -f $folder/$1 && -x $folder/$1 ]] && return 0
  done
  return 1
}

# REPLY: "nft" or "legacy", whichever the plain command `iptables` is. Before 1.8 there was only legacy.
default_flavour() {
  local version
  has iptables-restore || return 1
  version=$(iptables -V 2>/dev/null) || return 1
  case $version in
    *nf_tables*) REPLY=nft ;;
    *) REPLY=legacy ;;
  esac
}

# <backend> <family> <suffix>: REPLY is the command, e.g. ip6tables-nft-restore. Fails if it is not installed.
iptables_command() {
  local stem=iptables flavour=${1#iptables-}
  if [[ $2 == 6 ]]; then stem=ip6tables; fi
  if has "$stem-$flavour$3"; then
    REPLY=$stem-$flavour$3
    return 0
  fi
  default_flavour || return 1
  [[ $REPLY == "$flavour" ]] || return 1
  has "$stem$3" || return 1
  REPLY=$stem$3
}

# <family>: REPLY is the legacy tables that exist, one per line. Listing a table that does not exist would create it.
legacy_tables() {
  local names=/proc/net/ip_tables_names
  if [[ $1 == 6 ]]; then names=/proc/net/ip6_tables_names; fi
  REPLY=''
  if [[ -r $names ]]; then REPLY=$(<"$names"); fi
}

# <backend> <family> <table>: saves the table to $WORK/table, and never creates it.
iptables_save() {
  local backend=$1 family=$2 table=$3
  : >"$WORK/table"
  if [[ $backend == iptables-legacy ]]; then
    legacy_tables "$family"
    [[ $'\n'$REPLY$'\n' == *$'\n'$table$'\n'* ]] || return 0
  fi
  iptables_command "$backend" "$family" -save || return 1
  "$REPLY" -c -t "$table" >"$WORK/table" 2>"$WORK/errors"
}

# <backend> <family>: reads what is ours in table nat.
iptables_read() {
  local line rule postrouting=0
  SAVED=() CHAIN='' HAS_CHAIN='' JUMPS=() JUMP_IS_FIRST=''
  if ! iptables_save "$1" "$2" nat; then
    error "cannot read table nat of $1"
    return 1
  fi
  while IFS= read -r line; do
    rule=${line#*\] }
    case $rule in
      ':PEERMASQ '*) HAS_CHAIN=yes ;;
      '-A PEERMASQ '*)
        SAVED+=("$line")
        CHAIN+=$rule$'\n'
        ;;
      '-A POSTROUTING '*)
        if [[ $rule == *'-j PEERMASQ' ]]; then
          if [[ $postrouting -eq 0 && $rule == "$jump" ]]; then JUMP_IS_FIRST=yes; fi
          JUMPS+=("$rule")
        fi
        postrouting=$((postrouting + 1))
        ;;
    esac
  done <"$WORK/table"
}

# Adds the rules that iptables_read found, and the packets they masqueraded, to RULES and PACKETS.
iptables_count() {
  local line count
  for line in ${SAVED[@]+"${SAVED[@]}"}; do
    RULES=$((RULES + 1)) count=${line#\[}
    if [[ $line == *' -j MASQUERADE'* ]]; then PACKETS=$((PACKETS + ${count%%:*})); fi
  done
}

# <backend> <family>: adds the chains of others that rewrite source addresses to MASQUERADERS.
iptables_masqueraders() {
  local line rule
  iptables_save "$1" "$2" nat || return 0
  while IFS= read -r line; do
    rule=${line#*\] }
    case $rule in
      '-A PEERMASQ '* | '-A POSTROUTING '*'-j PEERMASQ') ;;
      '-A POSTROUTING '*' -j MASQUERADE'* | '-A POSTROUTING '*' -j SNAT'*) add_masquerader "direct: $rule" ;;
      '-A '*' -j MASQUERADE'* | '-A '*' -j SNAT'*)
        rule=${rule#-A }
        add_masquerader "${rule%% *}"
        ;;
    esac
  done <"$WORK/table"
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

# <family>: REPLY is our chain as iptables-save prints it, so that one text serves to write and to compare.
iptables_render() {
  local text=''
  each_exemption iptables_exemption "$1"
  each_masquerade_rule iptables_masquerade "$1"
  REPLY=$text
}

# <family> <index> <name>: appends the rule to the caller's `text`.
iptables_exemption() {
  local match
  if [[ -n $2 ]]; then
    match="-d ${CIDRS[$2]}"
  else
    set_name exempt "$1"
    match="-m set --match-set $REPLY dst"
  fi
  text+="-A PEERMASQ $match -m comment --comment \"peermasq: $3\" -j RETURN"$'\n'
}

# <family> <source> <destination> <name>: the same for a masquerade rule.
iptables_masquerade() {
  local set=''
  if [[ -z $3 ]]; then
    set_name masquerade "$1"
    set=" -m set --match-set $REPLY dst"
  fi
  text+="-A PEERMASQ${2:+ -s ${CIDRS[$2]}}${3:+ -d ${CIDRS[$3]}}${OUT:+ -o $OUT}$set -m addrtype ! --dst-type LOCAL"
  text+=" -m comment --comment \"peermasq: $4\" -j MASQUERADE${RANDOM_FULLY:+ --random-fully}"$'\n'
}

# <backend> <family>: runs $WORK/transaction. Fails with ERROR and code 3, or 4 if another program holds the lock.
iptables_commit() {
  local command code
  if ! iptables_command "$1" "$2" -restore; then
    error "$1 has no command for IPv$2"
    return 3
  fi
  command=$REPLY
  run "$command" --noflush -w "$WAIT" <"$WORK/transaction"
  code=$?
  ((code == 0)) && return 0
  command_error "$command"
  if ((code != 4)); then code=3; fi
  return "$code"
}

# Prints lines that delete our jumps: by their text and not by number, because another program may insert a rule after
# we read the table. The line then fails, and with it the transaction.
print_jump_deletions() {
  local line
  for line in ${JUMPS[@]+"${JUMPS[@]}"}; do printf -- '-D%s\n' "${line#-A}"; done
}

# <family> <rules>: in one transaction, fills our chain with these rules and has it reached first, and once.
iptables_replace() {
  local code=3 attempt
  for attempt in 1 2; do
    iptables_read "$BACKEND" "$1" || return 3
    {
      printf '*nat\n:PEERMASQ - [0:0]\n%s' "$2"
      if [[ ${#JUMPS[@]} -ne 1 || -z $JUMP_IS_FIRST ]]; then
        print_jump_deletions
        printf -- '-I POSTROUTING 1%s\n' "${jump#-A POSTROUTING}"
      fi
      printf 'COMMIT\n'
    } >"$WORK/transaction"
    iptables_commit "$BACKEND" "$1"
    code=$?
    ((code == 3)) || break
    log "attempt $attempt: $ERROR"
  done
  return "$code"
}

# <backend> <family>: removes our chain and jumps.
iptables_remove() {
  iptables_read "$1" "$2" || return 3
  [[ -n $HAS_CHAIN || ${#JUMPS[@]} -gt 0 ]] || return 0
  {
    printf '*nat\n'
    print_jump_deletions
    printf -- '-F PEERMASQ\n-X PEERMASQ\nCOMMIT\n'
  } >"$WORK/transaction"
  iptables_commit "$1" "$2"
}

# Applies the rule set to both families, or to neither. Fails with ERROR and code 3 or 4.
iptables_apply() {
  local code cause previous='' existed=''
  if iptables_read "$BACKEND" 4; then previous=$CHAIN existed=$HAS_CHAIN; fi
  iptables_render 4
  iptables_replace 4 "$REPLY" || return
  if uses_family 6; then
    iptables_render 6
    iptables_replace 6 "$REPLY"
  else
    iptables_remove "$BACKEND" 6
  fi
  code=$?
  ((code == 0)) && return 0
  cause=$ERROR
  if ! iptables_restore_previous "$existed" "$previous"; then
    cause+="; restoring the IPv4 rules failed too ($ERROR): run repair"
  fi
  error "$cause"
  return "$code"
}

# <existed> <rules>: restores the IPv4 chain, or removes it if it did not exist before.
iptables_restore_previous() {
  if [[ -n $1 ]]; then
    iptables_replace 4 "$2"
  else
    iptables_remove "$BACKEND" 4
  fi
}

# <family>: compares the kernel with the rule set and adds to DRIFT. A list and a set are equivalent.
iptables_observe() {
  local family=$1 kind note=''
  if [[ $family == 6 ]]; then note=' (IPv6)'; fi
  if ! iptables_read "$BACKEND" "$family"; then
    DRIFT+=("cannot read table nat$note")
    return
  fi
  iptables_count
  if ! uses_family "$family"; then
    if [[ -n $HAS_CHAIN ]]; then DRIFT+=("unexpected chain$note"); fi
    return
  fi
  for kind in exempt masquerade; do
    set_name "$kind" "$family"
    FORM[$kind $family]=list
    if [[ $CHAIN == *" --match-set $REPLY dst "* ]]; then FORM[$kind $family]='set'; fi
  done
  iptables_render "$family"
  if [[ -z $HAS_CHAIN ]]; then
    DRIFT+=("chain missing$note")
  elif [[ $CHAIN != "$REPLY" ]]; then
    DRIFT+=("chain differs$note")
  fi
  case ${#JUMPS[@]} in
    0) DRIFT+=("jump missing$note") ;;
    1) if [[ -z $JUMP_IS_FIRST ]]; then DRIFT+=("jump not first$note"); fi ;;
    *) DRIFT+=("duplicate jump$note") ;;
  esac
  for kind in exempt masquerade; do
    [[ ${FORM[$kind $family]} == set ]] || continue
    if ! set_is_current "$kind" "$family"; then DRIFT+=("set differs$note"); fi
  done
}
