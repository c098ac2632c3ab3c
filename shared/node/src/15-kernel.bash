# --- What was read from the kernel ---
# Each thing is read once between two changes, because every process costs milliseconds on every node, every minute.

# By "BACKEND FAMILY TABLE": the file with what iptables-save printed; by "BACKEND FAMILY TABLE CHAIN": the rules of the chain.
# By family: what `ip rule` printed, and nft of its own tables.
declare -A TABLE_TEXTS=() RULE_TEXTS=() NATIVE_TEXTS=()
# The tables that nft shows, one per line, and the family that read_family read.
NFT_TABLES='' READ_FAMILY=''

# After a change, everything is read again.
forget_kernel() { TABLE_TEXTS=() RULE_TEXTS=() NATIVE_TEXTS=() NFT_TABLES='' READ_FAMILY=''; }

# <family>: REPLY is the text of its ip rules.
ip_rules() {
  if [[ -z ${RULE_TEXTS[$1]:-} ]]; then RULE_TEXTS[$1]=$(ip "-$1" rule show 2>/dev/null); fi
  REPLY=${RULE_TEXTS[$1]}
}

# Sets NFT_TABLES. Fails if it cannot be known.
list_nft_tables() {
  local line
  [[ -z $NFT_TABLES ]] || return 0
  has nft || return 1
  # Prints the name of every table, as `list tables` does, but does not read all the rules of the node for it.
  if ! nft list flowtables >"$WORK/tables" 2>/dev/null; then
    nft list tables >"$WORK/tables" 2>/dev/null || return 1
  fi
  NFT_TABLES=$'\n'
  while read -r line; do
    if [[ $line == 'table '* ]]; then NFT_TABLES+=${line% \{}$'\n'; fi
  done <"$WORK/tables"
}

# <family> <table>: does nft show that there is no such table? Fails if it cannot be known.
lacks_nft_table() {
  list_nft_tables || return 1
  nft_family "$1"
  [[ $NFT_TABLES != *$'\n'"table $REPLY $2"$'\n'* ]]
}
