# --- look ---

# A part and its first line fit in what SSM returns of a command: 24,000 characters.
readonly part_chars=20000 max_parts=100

command_look() {
  local part=''
  case $#:${1:-} in 0:) ;; 2:--part) part=$2 ;; *) usage >&2 && exit 2 ;; esac
  # Whoever keeps stdout gets what was asked for or nothing.
  exec 4>&1 >&2
  prepare
  [[ $part =~ ^(0|[1-9][0-9]{0,2})?$ ]] || refuse '--part is not a number of at most three digits'
  case $part in
    '') take_snapshot && cat "$WORK/snapshot" >&4 ;;
    0) take_snapshot && pack_snapshot && print_part "$WORK/look" 0 ;;
    *) print_part "$DIR/look" "$part" ;;
  esac
  FINISHED=yes
}

# Writes to $WORK/snapshot what commands print, each after a line that names it, and then what is kept, as comments.
take_snapshot() { print_snapshot >"$WORK/snapshot"; }

print_snapshot() {
  local family backend line
  for family in 4 6; do
    for backend in iptables-nft iptables-legacy; do print_tables "$backend" "$family"; done
  done
  if has nft; then
    ! has_native_tables || print_output 'nft -j list ruleset'
  elif ! is_installed iptables-nft && ! is_installed iptables-legacy; then
    fail 'neither iptables nor nft is installed'
  fi
  # Where no rule needs a set, asking for sets would load their module.
  ! grep -q -e '--match-set' "$WORK/snapshot" || print_output 'ipset save'
  for line in 'ip -o addr' 'ip route' 'ip rule' 'ip -6 route' 'ip -6 rule'; do print_output "$line"; done
  if [[ -r $DIR/ruleset ]]; then
    printf '# peermasq: ruleset\n'
    while IFS= read -r line; do printf '#   %s\n' "$line"; done <"$DIR/ruleset"
  fi
  line=$(kept_status)
  [[ -z $line ]] || printf '# peermasq: report\n#   %s\n' "$line"
}

print_tables() {
  local name=iptables
  [[ $2 == 6 ]] && name=ip6tables
  legacy_tables "$2"
  [[ $1 != iptables-legacy || -n $REPLY ]] || return 0
  ! iptables_command "$1" "$2" -save || print_output "$name-${1#iptables-}-save" "$REPLY"
}

# Whether nft has more to show than iptables did: tables of other names, or one that iptables cannot print.
has_native_tables() {
  is_installed iptables-nft || return 0
  nft list tables 2>/dev/null | grep -qvE '^table ip6? (raw|mangle|nat|filter|security)$' && return
  grep -qE '^# Table .* (is incompatible|contains incompatible)' "$WORK/snapshot"
}

# Prints what command $1 prints, under its name; $2 is what it is called here, if that is something else. Who reads it
# has to know of rules that are not shown.
print_output() {
  local words
  read -r -a words <<<"${2:-$1}"
  has "${words[0]}" || { say "$1: not installed" && return; }
  if "${words[@]}" >"$WORK/output" 2>"$WORK/errors"; then
    printf '# peermasq: %s\n' "$1" && cat "$WORK/output"
  else
    say "$1: $(head -n 1 "$WORK/errors")"
    printf '# peermasq: %s failed\n' "$1"
  fi
}

# Packs the snapshot into $WORK/look, and keeps it where one part does not hold it.
pack_snapshot() {
  gzip -9 <"$WORK/snapshot" | base64 | tr -d '\n' >"$WORK/look" || fail 'the snapshot cannot be packed'
  count_parts "$WORK/look"
  ((REPLY <= max_parts)) || fail "the snapshot has $REPLY parts; accepted are $max_parts: run look without --part"
  ((REPLY == 1)) || { make_folder && keep_file "$WORK/look" "$DIR/look"; } || fail "cannot write to $DIR"
}

# REPLY: the number of parts of file $1.
count_parts() { REPLY=$((($(wc -c <"$1") + part_chars - 1) / part_chars)); }

# Prints part $2 of file $1, under a line by which the parts are put together and checked.
print_part() {
  local sum
  [[ -r $1 ]] || fail 'no snapshot is kept here; part 0 takes one'
  count_parts "$1"
  (($2 < REPLY)) || fail "the snapshot has $REPLY parts"
  sum=$(sha256sum <"$1")
  {
    printf 'part %d of %d sha256 %s\n' "$2" "$REPLY" "${sum%% *}"
    head -c $((($2 + 1) * part_chars)) "$1" | tail -c +$(($2 * part_chars + 1))
    printf '\n'
  } >&4
}

