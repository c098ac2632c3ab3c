# --- What was read from the kernel ---
# Between two changes, everything is read only once, because each process costs milliseconds on every node, every
# minute.

# TABLE_TEXTS: by "BACKEND FAMILY TABLE", the file with the output of iptables-save; by "BACKEND FAMILY TABLE CHAIN",
# the rules of the chain. RULE_TEXTS and NATIVE_TEXTS: by family, the output of `ip rule`, and nft's output for its
# own tables.
declare -A TABLE_TEXTS=() RULE_TEXTS=() NATIVE_TEXTS=()
# The tables that nft shows, one per line, and the family that read_family read last.
NFT_TABLES='' READ_FAMILY=''

# Discards everything that was read, because a change has made it outdated.
forget_kernel() { TABLE_TEXTS=() RULE_TEXTS=() NATIVE_TEXTS=() NFT_TABLES='' READ_FAMILY=''; }

# <family>: REPLY is the output of `ip rule` for this family.
ip_rules() {
  if [[ -z ${RULE_TEXTS[$1]:-} ]]; then RULE_TEXTS[$1]=$(ip "-$1" rule show 2>/dev/null); fi
  REPLY=${RULE_TEXTS[$1]}
}

# Sets NFT_TABLES. Fails if the tables cannot be listed.
list_nft_tables() {
  local line
  [[ -z $NFT_TABLES ]] || return 0
  has nft || return 1
  # This command prints the name of every table, as `list tables` does, but does not have to read all rules of the
  # node.
  if ! nft list flowtables >"$WORK/tables" 2>/dev/null; then
    nft list tables >"$WORK/tables" 2>/dev/null || return 1
  fi
  NFT_TABLES=$'\n'
  while read -r line; do
    if [[ $line == 'table '* ]]; then NFT_TABLES+=${line% \{}$'\n'; fi
  done <"$WORK/tables"
}

# <family> <table>: does nft show that the table does not exist? Fails if the tables cannot be listed.
lacks_nft_table() {
  list_nft_tables || return 1
  nft_family "$1"
  [[ $NFT_TABLES != *$'\n'"table $REPLY $2"$'\n'* ]]
}
