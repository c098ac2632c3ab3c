# --- ipset ---

# <kind> <family>: REPLY is the name of the set. The name depends on the rule set, so that the old rules keep their own
# sets until the new rules are in force.
set_name() {
  if [[ $1 == exempt ]]; then REPLY=peermasq-${2}x-${ID:0:12}; else REPLY=peermasq-$2-${ID:0:12}; fi
}

# <kind> <family>: writes the members of the set to $WORK/members.KIND.FAMILY, sorted, in the form that ipset prints.
# REPLY: the file.
write_members() {
  local i first last ranges=() length=32 file=$WORK/members.$1.$2
  if [[ ! -f $file ]]; then
    if [[ $2 == 6 ]]; then length=128; fi
    indices_of "$1" "$2"
    first=${REPLY%% *} last=${REPLY##* }
    if ((last - first + 1 == ${COUNT[$1 $2]:-0})); then
      ranges=("${CIDRS[@]:first:last - first + 1}")
    else
      for i in $REPLY; do ranges+=("${CIDRS[i]}"); done
    fi
    printf '%s\n' "${ranges[@]%"/$length"}" | sort -u >"$file"
  fi
  REPLY=$file
}

# <kind> <family>: does the set exist with exactly the expected members?
set_is_current() {
  local members
  write_members "$1" "$2"
  members=$REPLY
  set_name "$1" "$2"
  read_set "$REPLY"
  [[ -n ${SET_TEXTS[$REPLY]} ]] || return
  # The first line creates the set. It is not compared, because its options differ between versions of ipset.
  tail -n +2 <<<"${SET_TEXTS[$REPLY]}" | cut -d ' ' -f 3 | sort >"$WORK/found"
  same_text "$WORK/found" "$members"
}

# <name>: reads the set into SET_TEXTS.
read_set() {
  if [[ -z ${SET_TEXTS[$1]+known} ]]; then SET_TEXTS[$1]=$(exec ipset save "$1" 2>/dev/null); fi
}

# <kind> <family>: adds the set. It is filled under another name first, because a rule must never use a set that is only
# partly filled.
add_set() {
  local name members exists='' new=peermasq-$2-new inet=inet
  if [[ $2 == 6 ]]; then inet=inet6; fi
  set_is_current "$1" "$2" && return 0
  set_name "$1" "$2"
  name=$REPLY
  if [[ -n ${SET_TEXTS[$name]} ]]; then exists=yes; fi
  write_members "$1" "$2"
  mapfile -t members <"$REPLY"
  if ipset list -n "$new" >/dev/null 2>&1; then run ipset destroy "$new"; fi
  members=("create $new hash:net family $inet maxelem 65536" "${members[@]/#/add $new }")
  printf '%s\n' "${members[@]}" >"$WORK/restore"
  if ! run ipset restore <"$WORK/restore"; then
    command_error 'ipset restore'
    return 1
  fi
  if [[ -z $exists ]]; then
    run ipset rename "$new" "$name" || command_error 'ipset rename'
  elif run ipset swap "$new" "$name"; then
    run ipset destroy "$new"
  else
    command_error 'ipset swap'
  fi
}

# Adds the sets that the rules need. Fails with ERROR.
add_sets() {
  local key
  if ! has ipset; then
    error 'ipset is not installed'
    return 1
  fi
  for key in "${!FORM[@]}"; do
    [[ ${FORM[$key]} == set ]] || continue
    # shellcheck disable=SC2086 # two words: kind and family
    add_set $key || return 1
  done
}

# [<id>]: destroys our sets, except those of the rule set with this id. A set that a rule still uses is not destroyed.
remove_sets() {
  local name pattern='^peermasq-[46]x?-([0-9a-f]{12}|new)$'
  has ipset || return 0
  for name in $(exec ipset list -n 2>/dev/null); do
    [[ $name =~ $pattern ]] || continue
    if [[ ${BASH_REMATCH[1]} != "${1:0:12}" ]]; then run ipset destroy "$name"; fi
  done
  return 0
}
