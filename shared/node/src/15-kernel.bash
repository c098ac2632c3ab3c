# --- What was read from the kernel ---
# Each thing is read once between two changes, because every process costs milliseconds on every node, every minute.

# By "BACKEND FAMILY TABLE": what iptables-save printed. By family: what `ip rule` printed, and nft of its own tables.
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
  [[ -z $NFT_TABLES ]] || return 0
  has nft || return 1
  nft list tables >"$WORK/tables" 2>/dev/null || return 1
  IFS= read -r -d '' NFT_TABLES <"$WORK/tables"
  NFT_TABLES=$'\n'$NFT_TABLES
}

# <family> <table>: does nft show that there is no such table? Fails if it cannot be known.
lacks_nft_table() {
  list_nft_tables || return 1
  nft_family "$1"
  [[ $NFT_TABLES != *$'\n'"table $REPLY $2"$'\n'* ]]
}
