# --- State read from the kernel ---
# Between two changes, no state is read twice, because each process that is started costs milliseconds, on every node,
# every minute.

# TABLE_TEXTS has two kinds of keys: "BACKEND FAMILY TABLE" for the file with the output of iptables-save, and "BACKEND
# FAMILY TABLE CHAIN" for the rules of the chain. RULE_TEXTS has the output of `ip rule` by family. NATIVE_TEXTS has the
# output of nft for each of its own tables, and SET_TEXTS that of ipset for each set.
declare -A TABLE_TEXTS=() RULE_TEXTS=() NATIVE_TEXTS=() SET_TEXTS=()
# The keys of TABLE_TEXTS that the checks asked for, whether or not there are such tables and chains. UNCOMPARED is set if
# a chain could only be read with nft.
declare -A REQUESTED_CHAINS=()
UNCOMPARED=''
# The names of nft's tables, one per line, and the family that read_family read last.
NFT_TABLES='' READ_FAMILY=''

# Discards all of this state when a change has made it outdated.
forget_kernel() { TABLE_TEXTS=() RULE_TEXTS=() NATIVE_TEXTS=() SET_TEXTS=() NFT_TABLES='' READ_FAMILY=''; }

# <family>: REPLY is the output of `ip rule` for this family.
ip_rules() {
  if [[ -z ${RULE_TEXTS[$1]:-} ]]; then RULE_TEXTS[$1]=$(exec ip "-$1" rule show 2>/dev/null); fi
  REPLY=${RULE_TEXTS[$1]}
}

# Sets NFT_TABLES. Fails if the tables cannot be listed.
list_nft_tables() {
  local line text
  [[ -z $NFT_TABLES ]] || return 0
  has nft || return 1
  # Like `list tables`, this command prints the name of every table, but it does not read all the node's rules.
  if ! text=$(exec nft list flowtables 2>/dev/null); then
    text=$(exec nft list tables 2>/dev/null) || return 1
  fi
  NFT_TABLES=$'\n'
  split_lines "$text"
  for line in ${LINES_OF_TEXT[@]+"${LINES_OF_TEXT[@]}"}; do
    if [[ $line == 'table '* ]]; then NFT_TABLES+=${line% \{}$'\n'; fi
  done
}

# <family> <table>: is it certain that nft has no table of this name? Also fails if the tables cannot be listed.
lacks_nft_table() {
  list_nft_tables || return 1
  nft_family "$1"
  [[ $NFT_TABLES != *$'\n'"table $REPLY $2"$'\n'* ]]
}
