# --- Reading the tables of iptables ---
# Only small tables are read completely: the time that iptables-save takes grows with the number of rules, and table
# nat has thousands on some nodes. If nft has added a rule to a table that iptables cannot express, iptables-save does
# not print the table at all. The other chains of that table can still be read one by one.

# The rules that find_rules_after found. A rule that iptables cannot print is stored as "nft CHAIN RULE".
REACHED=()
# If packets can reach more chains than this from a hook, the whole table is read with one process, so that the number of
# processes does not depend on the rules of other programs.
readonly max_chains=12
# What iptables-nft-save prints about a table that it cannot print, or cannot print completely.
readonly incompatible_table='^# Table .*incompatible'

# <program>: is the program installed?
has() {
  local folder IFS=:
  for folder in $PATH; do
    [[ -f $folder/$1 && -x $folder/$1 ]] && return 0
  done
  return 1
}

# REPLY: the variant that the plain command `iptables` runs, "nft" or "legacy". Before version 1.8 there was only
# legacy.
default_flavour() {
  local version
  has iptables-restore || return 1
  version=$(iptables -V 2>/dev/null) || return 1
  case $version in
    *nf_tables*) REPLY=nft ;;
    *) REPLY=legacy ;;
  esac
}

# <backend> <family> <suffix>: REPLY is the name of a command, e.g. ip6tables-nft-restore. Fails if the command is not
# installed.
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

# <family>: REPLY is the existing tables of iptables-legacy, one per line. Their rules are not listed, because listing
# the rules of a missing table would create the table.
legacy_tables() {
  local names=/proc/net/ip_tables_names
  if [[ $1 == 6 ]]; then names=/proc/net/ip6_tables_names; fi
  REPLY=''
  if [[ -r $names ]]; then IFS= read -r -d '' REPLY <"$names"; fi
  REPLY=${REPLY%$'\n'}
}

# <backend> <family> <table>: is it certain that the table does not exist? With iptables-legacy, reading a missing table
# would create it.
lacks_table() {
  if [[ $1 == iptables-legacy ]]; then
    legacy_tables "$2"
    [[ $'\n'$REPLY$'\n' != *$'\n'$3$'\n'* ]]
  else
    lacks_nft_table "$2" "$3"
  fi
}

# <backend> <family> <table>: REPLY is a file with the output of iptables-save for the table. Never creates the table.
# Fails if iptables cannot print the table.
iptables_save() {
  REQUESTED_CHAINS[$*]=yes
  save_table "$@"
}

# <backend> <family> <table>: does the work of iptables_save.
save_table() {
  local file=$WORK/$1-$2-$3
  if [[ -z ${TABLE_TEXTS[$*]+known} ]]; then
    : >"$file"
    if ! lacks_table "$@"; then
      iptables_command "$1" "$2" -save || return
      "$REPLY" -c -t "$3" >"$file" 2>"$WORK/errors" || return
      [[ $1 == iptables-nft ]] && grep -q "$incompatible_table" "$file" && return 1
    fi
    TABLE_TEXTS[$*]=$file
  fi
  REPLY=$file
}

# <backend> <family> <table> <chain>: saves the chain to $WORK/chain in the form of iptables-save, where each rule
# starts with its counters. Fails if there is no such chain, or if iptables cannot print it.
iptables_save_chain() {
  REQUESTED_CHAINS[$*]=yes
  read_chain "$@" || return
  printf '%s' "${TABLE_TEXTS[$*]}" >"$WORK/chain"
}

# <backend> <family> <table> <chain>: reads the chain into TABLE_TEXTS. Fails like iptables_save_chain.
read_chain() {
  local text=''
  [[ -z ${TABLE_TEXTS[$*]+known} ]] || return 0
  "${1/-/_}_chain" "$@" || return
  TABLE_TEXTS[$*]=$text
}

# <backend> <family> <table> <chain>: appends the rules of the chain to the caller's `text`.
iptables_nft_chain() {
  local line lines counters='^(-A .*) -c ([0-9]+) ([0-9]+)( .*)?$'
  iptables_command "$1" "$2" '' || return
  lines=$(exec "$REPLY" -t "$3" -v -S "$4" 2>/dev/null) || return
  split_lines "$lines"
  for line in ${LINES_OF_TEXT[@]+"${LINES_OF_TEXT[@]}"}; do
    # Versions differ in where they print the counters, and some print none.
    if [[ $line =~ $counters ]]; then
      text+="[${BASH_REMATCH[2]}:${BASH_REMATCH[3]}] ${BASH_REMATCH[1]}${BASH_REMATCH[4]}"$'\n'
    elif [[ $line == '-A '* ]]; then
      text+="[0:0] $line"$'\n'
    elif [[ $line == '['*'] -A '* ]]; then
      text+=$line$'\n'
    fi
  done
}

# <backend> <family> <table> <chain>: appends the rules of the chain to the caller's `text`. Reads the whole table,
# because iptables-legacy does so even for a single chain, and its option -S would also wait for the lock.
iptables_legacy_chain() {
  local line exists=''
  save_table "$1" "$2" "$3" || return
  grep -F -e ":$4 " -e " -A $4 " "$REPLY" >"$WORK/chain"
  while IFS= read -r line; do
    case $line in
      ":$4 "*) exists=yes ;;
      '['*"] -A $4 "*) text+=$line$'\n' ;;
    esac
  done <"$WORK/chain"
  [[ -n $exists ]]
}

# <backend> <family> <table> <chain>: saves a chain that iptables cannot print, in the form that nft prints with
# handles. Fails with ERROR if the chain cannot be read, and without ERROR if there is no such chain.
nft_save_chain() {
  local note=''
  ERROR=''
  [[ $1 == iptables-nft ]] || return
  if has nft; then
    nft_family "$2"
    if nft -y -a list chain "$REPLY" "$3" "$4" >"$WORK/chain" 2>"$WORK/errors"; then
      UNCOMPARED=yes
      return 0
    fi
    [[ $(<"$WORK/errors") == *'No such file or directory'* ]] && return 1
  else
    # iptables can print the whole table, so it would also have printed the chain.
    iptables_save "$1" "$2" "$3" && return 1
  fi
  if [[ $2 == 6 ]]; then note=' (IPv6)'; fi
  error "chain $4 of table $3$note cannot be read"
}

# <backend> <family> <table> <hook> [<prefix>]: sets REACHED to the rules that packets can reach from this hook
# without passing our chain. With a prefix, only chains whose names start with it are followed. Fails if some rules
# cannot be read.
find_rules_after() {
  local line chain prefix=${5:-} known=' PEERMASQ ' queue=("$4") count=0
  REACHED=()
  lacks_table "$@" && return
  while ((${#queue[@]} > 0)); do
    chain=${queue[0]} queue=("${queue[@]:1}")
    [[ $known == *" $chain "* ]] && continue
    known+="$chain " count=$((count + 1))
    add_rules_of_chain "$1" "$2" "$3" "$chain" || return
    ((count + ${#queue[@]} <= max_chains)) || break
  done
  ((${#queue[@]} > 0)) || return 0
  REACHED=()
  iptables_save "$1" "$2" "$3" || return
  while IFS= read -r line; do
    if [[ $line == *' -A '* && $line != *' -A PEERMASQ '* ]]; then REACHED+=("${line#*\] }"); fi
  done <"$REPLY"
}

# <backend> <family> <table> <chain>: adds the rules of the chain to REACHED, and the chains to which they lead to the
# caller's `queue`.
add_rules_of_chain() {
  local line
  if iptables_save_chain "$@"; then
    while IFS= read -r line; do
      REACHED+=("${line#*\] }")
      if [[ $line =~ \ -[jg]\ ([^ ]+)$ ]]; then add_chain "${BASH_REMATCH[1]}"; fi
    done <"$WORK/chain"
  elif nft_save_chain "$@"; then
    while read -r line; do
      REACHED+=("nft $4 $line")
      if [[ $line =~ (^|\ )(jump|goto)\ ([^ ]+) ]]; then add_chain "${BASH_REMATCH[3]}"; fi
    done <"$WORK/chain"
  else
    # The target does not have to be a chain, so it is an error only if a chain could not be read.
    [[ -z $ERROR ]]
  fi
}

# <target>: adds the target to the caller's `queue` if it can be a chain whose name starts with the caller's `prefix`.
add_chain() {
  case $1 in
    ACCEPT | DROP | RETURN | QUEUE | MASQUERADE | REDIRECT | TRACE) ;;
    "$prefix"*) queue+=("$1") ;;
  esac
}
