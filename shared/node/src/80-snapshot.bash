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

# Prints what collect prints, and then the stored files as comments.
print_snapshot() {
  local line
  if ! has nft && ! is_installed iptables-nft && ! is_installed iptables-legacy; then
    fail 'neither iptables nor nft is installed'
  fi
  collect_node ''
  if [[ -r $DIR/ruleset ]]; then
    printf '# peermasq: ruleset\n'
    while IFS= read -r line; do printf '#   %s\n' "$line"; done <"$DIR/ruleset"
  fi
  stored_status
  if [[ -n $REPLY ]]; then printf '# peermasq: report\n#   %s\n' "$REPLY"; fi
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
