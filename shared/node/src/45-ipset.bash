# --- ipset ---

# REPLY: the name of the set for kind $1 and family $2; it changes with the rule set, so that the old set
# serves the old rules until the new ones are in force.
set_name() {
  case $1 in exempt) REPLY=peermasq-${2}x-${ID:0:12} ;; *) REPLY=peermasq-$2-${ID:0:12} ;; esac
}

# Writes the members of the set for kind $1 and family $2 to $WORK/members, sorted, as ipset prints them.
set_members() {
  local i members=()
  positions "$1" "$2"
  for i in $REPLY; do range_text "$i" && members+=("$REPLY"); done
  printf '%s\n' "${members[@]}" | sort -u >"$WORK/members"
}

# REPLY: range $1 as ipset and nft print it: a single address without its length.
range_text() {
  REPLY=${CIDRS[$1]}
  if ((LENS[$1] == (FAMILIES[$1] == 4 ? 32 : 128))); then REPLY=${REPLY%/*}; fi
}

set_is_right() {
  set_members "$1" "$2"
  set_name "$1" "$2"
  # The first line makes the set; its options differ from version to version.
  ipset save "$REPLY" 2>/dev/null | tail -n +2 | cut -d ' ' -f 3 | sort | cmp -s - "$WORK/members"
}

# Makes the set whole under another name first; a rule never looks at a set that is being filled.
set_put() {
  local name members new=peermasq-$2-new inet=inet
  [[ $2 == 4 ]] || inet=inet6
  ! set_is_right "$1" "$2" || return 0
  name=$REPLY
  mapfile -t members <"$WORK/members"
  ipset destroy "$new" 2>/dev/null
  { printf '%s\n' "create $new hash:net family $inet maxelem 65536" "${members[@]/#/add $new }"; } |
    ipset restore 2>"$WORK/errors" || { FAULT=$(head -n 1 "$WORK/errors") && return 1; }
  if ipset list -n "$name" >/dev/null 2>&1; then
    ipset swap "$new" "$name" && ipset destroy "$new"
  else
    ipset rename "$new" "$name"
  fi
}

sets_put() {
  local key
  FAULT='ipset is not installed' && has ipset || return 1
  for key in "${!FORM[@]}"; do
    # shellcheck disable=SC2086 # two words: kind and family
    [[ ${FORM[$key]} == list ]] || set_put $key || return 1
  done
}

# Destroys our sets, except those of the rule set $1. One that a rule still uses stays.
sets_clear() {
  local name pattern='^peermasq-[46]x?-([0-9a-f]{12}|new)$'
  has ipset || return 0
  for name in $(ipset list -n 2>/dev/null); do
    [[ $name =~ $pattern && ${BASH_REMATCH[1]} != "${1:0:12}" ]] && ipset destroy "$name" 2>/dev/null
  done
  return 0
}

