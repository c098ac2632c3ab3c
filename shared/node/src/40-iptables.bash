# --- iptables ---

has() {
  local folder IFS=:
  for folder in $PATH; do [[ -f $folder/$1 && -x $folder/$1 ]] && return; done
  return 1
}

# REPLY: "nft" or "legacy", what the alternative `iptables` is. Before 1.8 there was only legacy.
default_flavour() {
  local version
  has iptables-restore && version=$(iptables -V 2>/dev/null) || return 1
  case $version in *nf_tables*) REPLY=nft ;; *) REPLY=legacy ;; esac
}

# REPLY: the command for backend $1, family $2 and suffix $3, e.g. ip6tables-nft-restore. Fails if it is not there.
iptables_command() {
  local stem=iptables flavour=${1#iptables-}
  [[ $2 == 6 ]] && stem=ip6tables
  if has "$stem-$flavour$3"; then
    REPLY=$stem-$flavour$3
  else
    default_flavour && [[ $REPLY == "$flavour" ]] && has "$stem$3" && REPLY=$stem$3
  fi
}

# REPLY: the legacy tables of family $1, a line each. To ask for one that is not there would load its module.
legacy_tables() {
  local names=/proc/net/ip_tables_names
  [[ $1 == 6 ]] && names=/proc/net/ip6_tables_names
  REPLY=''
  [[ ! -r $names ]] || REPLY=$(<"$names")
}

# Writes table $3 of a backend and family to $WORK/table, without making a table that is not there.
iptables_save() {
  local backend=$1 family=$2 table=$3
  : >"$WORK/table"
  if [[ $backend == iptables-legacy ]]; then
    legacy_tables "$family"
    [[ $'\n'$REPLY$'\n' == *$'\n'$table$'\n'* ]] || return 0
  fi
  iptables_command "$backend" "$family" -save && "$REPLY" -c -t "$table" >"$WORK/table" 2>"$WORK/errors"
}

# What iptables_read finds: our chain as saved, our jumps as saved, and the rules of others that rewrite sources.
CHAIN='' HAS_CHAIN='' JUMPS=() JUMP_IS_FIRST=''

iptables_read() {
  local line rule count postrouting=0
  CHAIN='' HAS_CHAIN='' JUMPS=() JUMP_IS_FIRST=''
  iptables_save "$1" "$2" nat || return 1
  while IFS= read -r line; do
    rule=${line#*\] }
    case $rule in
      ':PEERMASQ '*) HAS_CHAIN=yes ;;
      '-A PEERMASQ '*)
        CHAIN+=$rule$'\n'
        RULES=$((RULES + 1)) count=${line#\[}
        [[ $rule == *' -j MASQUERADE'* ]] && PACKETS=$((PACKETS + ${count%%:*}))
        ;;
      '-A POSTROUTING '*'-j PEERMASQ')
        [[ $postrouting -eq 0 && $rule == "$jump" ]] && JUMP_IS_FIRST=yes
        JUMPS+=("$rule")
        ;;
      '-A POSTROUTING '*' -j MASQUERADE'* | '-A POSTROUTING '*' -j SNAT'*) add_masquerader "direct: $rule" ;;
      '-A '*' -j MASQUERADE'* | '-A '*' -j SNAT'*) rule=${rule#-A } && add_masquerader "${rule%% *}" ;;
    esac
    if [[ $rule == '-A POSTROUTING '* ]]; then postrouting=$((postrouting + 1)); fi
  done <"$WORK/table"
}

add_masquerader() {
  local known
  ((${#MASQUERADERS[@]} < 20)) || return 0
  for known in ${MASQUERADERS[@]+"${MASQUERADERS[@]}"}; do [[ $known == "$1" ]] && return; done
  MASQUERADERS+=("$1")
}

# CHAIN_TEXT: our chain for family $1, as iptables-save prints it, so that one text serves to write and to compare.
iptables_render() {
  CHAIN_TEXT=''
  each_exemption iptables_exemption "$1"
  each_masquerade_rule iptables_masquerade "$1"
}

iptables_exemption() {
  local match
  if [[ -n $2 ]]; then match="-d ${CIDRS[$2]}"; else set_name exempt "$1" && match="-m set --match-set $REPLY dst"; fi
  CHAIN_TEXT+="-A PEERMASQ $match -m comment --comment \"peermasq: $3\" -j RETURN"$'\n'
}

iptables_masquerade() {
  local set=''
  [[ -n $3 ]] || { set_name masquerade "$1" && set=" -m set --match-set $REPLY dst"; }
  CHAIN_TEXT+="-A PEERMASQ${2:+ -s ${CIDRS[$2]}}${3:+ -d ${CIDRS[$3]}}${OUT:+ -o $OUT}$set -m addrtype ! --dst-type LOCAL"
  CHAIN_TEXT+=" -m comment --comment \"peermasq: $4\" -j MASQUERADE${RANDOM_FULLY:+ --random-fully}"$'\n'
}

# Runs $WORK/transaction. Fails with 3 or, when the lock is held, 4, and FAULT.
iptables_commit() {
  local code
  FAULT="$1 has no command for IPv$2" && iptables_command "$1" "$2" -restore || return 3
  "$REPLY" --noflush -w "$WAIT" <"$WORK/transaction" >/dev/null 2>"$WORK/errors"
  code=$?
  ((code == 0)) && return 0
  FAULT="$REPLY: $(head -n 1 "$WORK/errors")"
  ((code == 4)) && return 4
  return 3
}

# Our jumps as lines that delete them: by what they say and not by number, because another program may
# insert a rule between our reading and our writing. Such a line then fails, and with it the transaction.
delete_jumps() {
  local line
  for line in ${JUMPS[@]+"${JUMPS[@]}"}; do printf -- '-D%s\n' "${line#-A}"; done
}

# Makes our chain of family $1 hold the rules $2 and be reached first and once, in one transaction.
iptables_put() {
  local code=3 attempt
  for attempt in 1 2; do
    FAULT="cannot read table nat of $BACKEND" && iptables_read "$BACKEND" "$1" || return 3
    {
      printf '*nat\n:PEERMASQ - [0:0]\n%s' "$2"
      if [[ ${#JUMPS[@]} -ne 1 || -z $JUMP_IS_FIRST ]]; then
        delete_jumps
        printf -- '-I POSTROUTING 1%s\n' "${jump#-A POSTROUTING}"
      fi
      printf 'COMMIT\n'
    } >"$WORK/transaction"
    iptables_commit "$BACKEND" "$1"
    code=$?
    ((code == 3)) || break
    say "attempt $attempt: $FAULT"
  done
  return "$code"
}

# Takes our chain and jumps of backend $1 and family $2 away.
iptables_drop() {
  FAULT="cannot read table nat of $1" && iptables_read "$1" "$2" || return 3
  [[ -n $HAS_CHAIN || ${#JUMPS[@]} -gt 0 ]] || return 0
  { printf '*nat\n' && delete_jumps && printf -- '-F PEERMASQ\n-X PEERMASQ\nCOMMIT\n'; } >"$WORK/transaction"
  iptables_commit "$1" "$2"
}

# Puts the rule set in force for both families, or leaves what was there. Fails with 3 or 4 and FAULT.
iptables_change() {
  local code=0 cause previous='' had=''
  iptables_read "$BACKEND" 4 && previous=$CHAIN had=$HAS_CHAIN
  iptables_render 4
  iptables_put 4 "$CHAIN_TEXT" || return
  if concerns 6; then
    iptables_render 6
    iptables_put 6 "$CHAIN_TEXT"
  else
    iptables_drop "$BACKEND" 6
  fi
  code=$?
  ((code != 0)) || return 0
  cause=$FAULT
  if [[ -n $had ]]; then iptables_put 4 "$previous"; else iptables_drop "$BACKEND" 4; fi ||
    cause+="; taking the IPv4 rules back failed too ($FAULT): run repair"
  FAULT=$cause
  return "$code"
}

# Compares one family with what is meant, adding to DRIFT. A list and a set mean the same.
iptables_observe() {
  local family=$1 kind note=''
  [[ $family == 6 ]] && note=' (IPv6)'
  iptables_read "$BACKEND" "$family" || { DRIFT+=("table nat cannot be read$note") && return; }
  if ! concerns "$family"; then
    [[ -z $HAS_CHAIN ]] || DRIFT+=("chain not wanted$note")
    return
  fi
  for kind in exempt masquerade; do
    set_name "$kind" "$family" && FORM[$kind $family]=list
    [[ $CHAIN == *" --match-set $REPLY dst "* ]] && FORM[$kind $family]='set'
  done
  iptables_render "$family"
  if [[ -z $HAS_CHAIN ]]; then
    DRIFT+=("chain missing$note")
  elif [[ $CHAIN != "$CHAIN_TEXT" ]]; then
    DRIFT+=("chain differs$note")
  fi
  case ${#JUMPS[@]} in
    0) DRIFT+=("jump missing$note") ;;
    1) [[ -n $JUMP_IS_FIRST ]] || DRIFT+=("jump not first$note") ;;
    *) DRIFT+=("jump repeated$note") ;;
  esac
  for kind in exempt masquerade; do
    [[ ${FORM[$kind $family]} == list ]] || set_is_right "$kind" "$family" || DRIFT+=("set differs$note")
  done
}

