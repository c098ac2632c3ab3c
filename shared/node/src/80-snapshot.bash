# --- snapshot ---

# The maximum size of a part. A part and its first line must fit in the 24,000 characters of a command's output that
# SSM returns.
readonly part_chars=20000 max_parts=100

command_snapshot() {
  local part=''
  case $#:${1:-} in
    0:) ;;
    2:--part) part=$2 ;;
    *) exit_usage ;;
  esac
  # Stdout contains either the requested output or nothing. If the command fails, the report goes to stderr.
  exec 4>&1 >&2
  prepare
  [[ $part =~ ^(0|[1-9][0-9]{0,2})?$ ]] || refuse 'invalid --part: expected a number of at most three digits'
  case $part in
    '')
      print_snapshot >"$WORK/snapshot"
      cat "$WORK/snapshot" >&4
      ;;
    0)
      print_snapshot >"$WORK/snapshot"
      pack_snapshot
      print_part "$WORK/packed" 0
      ;;
    *) print_part "$DIR/snapshot" "$part" ;;
  esac
  FINISHED=yes
}

# Prints the output of commands, each after a line that names the command, and then the stored files as comments.
print_snapshot() {
  local family backend line
  for family in 4 6; do
    for backend in iptables-nft iptables-legacy; do print_tables "$backend" "$family"; done
  done
  if has nft; then
    if has_native_tables; then print_output 'nft -j list ruleset'; fi
  elif ! is_installed iptables-nft && ! is_installed iptables-legacy; then
    fail 'neither iptables nor nft is installed'
  fi
  # On a node without sets, the command to list them would load a kernel module.
  if grep -q -e '--match-set' "$WORK/snapshot"; then print_output 'ipset save'; fi
  for line in 'ip -o addr' 'ip route' 'ip rule' 'ip -6 route' 'ip -6 rule'; do print_output "$line"; done
  if [[ -r $DIR/ruleset ]]; then
    printf '# peermasq: ruleset\n'
    while IFS= read -r line; do printf '#   %s\n' "$line"; done <"$DIR/ruleset"
  fi
  stored_status
  if [[ -n $REPLY ]]; then printf '# peermasq: report\n#   %s\n' "$REPLY"; fi
}

# <backend> <family>
print_tables() {
  local name=iptables
  if [[ $2 == 6 ]]; then name=ip6tables; fi
  legacy_tables "$2"
  [[ $1 != iptables-legacy || -n $REPLY ]] || return 0
  if iptables_command "$1" "$2" -save; then print_output "$name-${1#iptables-}-save" "$REPLY"; fi
}

# Does nft show more than iptables did, that is, tables with other names or tables that iptables cannot print? Where
# iptables 1.8.7 cannot print a table, it fails.
has_native_tables() {
  is_installed iptables-nft || return 0
  nft list tables 2>/dev/null | grep -qvE '^table ip6? (raw|mangle|nat|filter|security)$' && return
  grep -qE -e "$incompatible_table" -e '^# peermasq: ip6?tables-nft-save failed' "$WORK/snapshot"
}

# <title> [<command>]: prints the title, then the output of the command (by default, the title is the command). A
# failure is also printed, so that readers know that rules may be missing.
print_output() {
  local words
  read -r -a words <<<"${2:-$1}"
  if ! has "${words[0]}"; then
    log "$1: not installed"
  elif "${words[@]}" >"$WORK/output" 2>"$WORK/errors"; then
    printf '# peermasq: %s\n' "$1"
    cat "$WORK/output"
  else
    command_error "$1"
    log "$ERROR"
    printf '# peermasq: %s failed\n' "$1"
  fi
}

# Compresses the snapshot to $WORK/packed. Stores it if it has more than one part.
pack_snapshot() {
  local count
  gzip -9 <"$WORK/snapshot" | base64 | tr -d '\n' >"$WORK/packed" || fail 'cannot compress the snapshot'
  count_parts "$WORK/packed"
  count=$REPLY
  ((count <= max_parts)) || fail "the snapshot has $count parts, more than $max_parts: run snapshot without --part"
  ((count > 1)) || return 0
  make_folder
  store_file "$WORK/packed" "$DIR/snapshot" || fail "cannot write to $DIR"
}

# <file>: REPLY is the number of parts of the file.
count_parts() { REPLY=$((($(wc -c <"$1") + part_chars - 1) / part_chars)); }

# <file> <part>: prints a line with the number of the part and the checksum of the file, then the part. The reader uses
# this line to join and verify the parts.
print_part() {
  local count sum
  [[ -r $1 ]] || fail 'no snapshot is stored; part 0 takes one'
  count_parts "$1"
  count=$REPLY
  (($2 < count)) || fail "the snapshot has only $count parts"
  sum=$(sha256sum <"$1")
  {
    printf 'part %d of %d sha256 %s\n' "$2" "$count" "${sum%% *}"
    head -c $((($2 + 1) * part_chars)) "$1" | tail -c +$(($2 * part_chars + 1))
    printf '\n'
  } >&4
}
