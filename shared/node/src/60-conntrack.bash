# --- Stale connections ---
# A connection that began before the rules is never masqueraded: conntrack remembers how its first packet left. Deleting
# its entry makes the next retransmitted SYN a first packet again. `conntrack -D` reads the whole table however few
# entries it deletes (0.12 s of CPU time for 50,000), and pods decide how many hang. So the table is listed once, and
# entries are deleted by range.
readonly max_walks=16 max_lines=1000

# FILTER: the arguments with which conntrack selects the range of a connection. DELETED: the ranges deleted so far. KEPT:
# by pattern, whether a connection that has to stay matches it. EXEMPTIONS: by family, the indices of the exemptions.
FILTER=()
declare -A DELETED=() KEPT=() EXEMPTIONS=()

# Turns a line of `conntrack -L` into "RANK PROTOCOL src=ADDRESS dst=ADDRESS sport=PORT,PORT [UNREPLIED] src=...", first
# in the original direction, then in the direction of the expected reply. TCP ranks first. Pings have an ID instead of
# ports. Capture groups throughout would make this ten times slower.
readonly shorten_flow='s/ packets=[0-9]* bytes=[0-9]*//g
s/ type=[0-9]* code=[0-9]*//g
s/ dport=/,/g
s/ mark=.*//
s/ use=.*//
/^unknown /s/^unknown +([0-9]+)/\1 \1/
s/ +[0-9]+ [0-9]+ [A-Z_ ]*src=/ src=/
s/^/1 /
s/^1 tcp /0 tcp /'

# Deletes the conntrack entries of connections that hang because they started before the rules were applied. Sets
# FLUSHED.
flush_stale_connections() {
  local flows='' left walks=0 seen=0 is_limited='' deadline=$((SECONDS + flush_seconds))
  if ! has conntrack; then
    warn 'conntrack is not installed: connections that already hang keep hanging'
    return
  fi
  { read -r flows </proc/sys/net/netfilter/nf_conntrack_count; } 2>/dev/null
  [[ $flows != 0 ]] || return 0
  if ! list_hanging; then
    warn "$ERROR: connections that already hang keep hanging"
    return
  fi
  while find_range; do
    if ((walks == max_walks || walks > 0 && SECONDS > deadline)); then
      is_limited=yes
      break
    fi
    walks=$((walks + 1))
    delete_range
  done
  [[ -n $is_limited ]] || return 0
  left=$(wc -l <"$WORK/hanging")
  warn "flushed $FLUSHED stale connections: up to $((left)) more hang until they time out"
}

# Lists the connections that may hang in $WORK/hanging, as shorten_flow writes them, and connections to the same
# destinations that have to stay in $WORK/kept, as conntrack prints them. Fails with ERROR.
list_hanging() {
  local family dump dumps=() sources='' destinations='' exempt=''
  for family in 4 6; do
    ((${COUNT[masquerade $family]:-0} > 0)) || continue
    has_sources && ((${COUNT[source $family]:-0} == 0)) && continue
    indices_of source "$family"
    summarize_ranges "$REPLY"
    sources+=$PATTERNS dump="-f ipv$family${REPLY:+ -s $REPLY}"
    indices_of masquerade "$family"
    summarize_ranges "$REPLY"
    destinations+=$PATTERNS dumps+=("$dump${REPLY:+ -d $REPLY}")
    indices_of exempt "$family"
    EXEMPTIONS[$family]=$REPLY
    exempt_patterns "$REPLY"
    exempt+=$PATTERNS
  done
  DELETED=() KEPT=()
  : >"$WORK/hanging"
  ((${#dumps[@]} > 0)) || return 0
  dump_flows "${dumps[@]}" | list_flows "${sources%|}" "${destinations%|}" "${exempt%|}" >"$WORK/hanging" ||
    command_error 'conntrack -L' || return
  [[ -s $WORK/hanging ]] || return 0
  keep_nated
  sort -o "$WORK/hanging" "$WORK/hanging"
}

# <arguments>...: lists connections with each of these arguments of conntrack.
dump_flows() {
  local arguments
  for arguments in "$@"; do
    # shellcheck disable=SC2086 # split on purpose
    conntrack -L $arguments 2>"$WORK/errors" || return
  done
}

# <sources> <destinations> <exempt>: prints the connections that may hang, from the output of conntrack on stdin.
# "src=" and "dst=" occur twice in its lines: first as the connection was sent, then as its reply is expected.
list_flows() {
  # TCP connections in other states than SYN_SENT were answered once.
  sed -nE "/^[^=]*=($1)([^ ]* )?dst=($2)/!d
${3:+/^[^=]*=[^ ]* dst=($3)/d}
/^tcp /{
/ SYN_SENT .*\[UNREPLIED\]/!d
}
/ zone/b keep
/\[UNREPLIED\] [^ ]* dst=($1)/!b keep
$shorten_flow
p
d
: keep
w $WORK/kept"
}

# Moves connections that are NATed, but to an address of a pod, from $WORK/hanging to $WORK/kept.
keep_nated() {
  local equal='src=([^ ]*) dst=([^ ]*) .*src=\2 dst=\1( |$)'
  has_nated || return 0
  grep -vE "$equal" "$WORK/hanging" >>"$WORK/kept"
  grep -E "$equal" "$WORK/hanging" >"$WORK/remaining"
  mv -f -- "$WORK/remaining" "$WORK/hanging"
}

# Is a connection in $WORK/hanging NATed? If not, the source of each is also the destination of its reply, and the other way
# round. Printed line by line, only NAT leaves an odd number of equal lines. That is far faster than a pattern.
has_nated() {
  REPLY=$(
    { cut -d = -f 2,6 "$WORK/hanging"; cut -d = -f 3,5 "$WORK/hanging"; } |
      sed -e 's/ [a-z]*=/\n/' -e 's/ .*//' | uniq -c | grep -c '^ *[0-9]*[13579] '
  )
  ((REPLY > 0))
}

# Sets FILTER for the first connection in $WORK/hanging whose range was not deleted yet. Fails if there is none. Uses the
# caller's seen and is_limited.
find_range() {
  local protocol source destination ports
  while read -r _ protocol source destination ports; do
    if ((++seen > max_lines)); then
      is_limited=yes
      return 1
    fi
    set_filter "$protocol" "${source#src=}" "${destination#dst=}" "$ports" || continue
    [[ -n ${DELETED["${FILTER[*]}"]:-} ]] || return 0
  done <"$WORK/hanging"
  return 1
}

# <protocol> <source> <destination> <ports>: sets FILTER to the largest range around the connection that contains nothing
# that has to stay. Fails if the connection itself has to stay.
set_filter() {
  local sources='' pattern key source=${2//./\\.}
  parse_address "$2" && is_source || return 1
  if has_sources; then
    LENGTH=$MATCHED
    range_of_address
    sources=$REPLY
  fi
  parse_address "$3" && contains_address masquerade || return 1
  LENGTH=$MATCHED
  contains_address exempt && return 1
  exclude_exemptions
  range_pattern
  pattern=${REPLY%|}
  range_of_address
  FILTER=(-f "ipv$FAMILY" -p "$1")
  # Unanswered connections of TCP have a state of their own. With -q, the source is also the address to which the reply
  # is expected, so no masqueraded connection matches.
  if [[ $1 == tcp ]]; then FILTER+=(--state SYN_SENT); fi
  if [[ $1 == tcp ]] && ! is_kept "tcp [^=]*=[^ ]* dst=($pattern)"; then
    FILTER+=(${sources:+-s "$sources"} -d "$REPLY")
  elif ! is_kept "$1 [^=]*=$source dst=($pattern).* dst=$source( |\$)"; then
    FILTER+=(-s "$2" -q "$2" -d "$REPLY")
  else
    # shellcheck disable=SC2206 # split on purpose
    key=(${4//[=,]/ })
    FILTER+=(-s "$2" -q "$2" -d "$3")
    case $4 in
      sport=*) FILTER+=(--sport "${key[1]}" --dport "${key[2]}") ;;
      id=*) FILTER+=("--$1-id" "${key[1]}") ;;
    esac
  fi
}

# Makes LENGTH longer until the range around the address HI, LO contains no exemption.
exclude_exemptions() {
  local i
  for i in ${EXEMPTIONS[$FAMILY]:-}; do
    while ((((HI ^ HIS[i]) & MASK_HI[LENGTH]) == 0 && ((LO ^ LOS[i]) & MASK_LO[LENGTH]) == 0)); do
      LENGTH=$((LENGTH + 1))
    done
  done
}

# <pattern>: does a connection that has to stay match the pattern?
is_kept() {
  if [[ -z ${KEPT["$1"]:-} ]]; then
    KEPT["$1"]=no
    if grep -qE -- "$1" "$WORK/kept"; then KEPT["$1"]=yes; fi
  fi
  [[ ${KEPT["$1"]} == yes ]]
}

# Deletes the connections that FILTER selects, and removes them from $WORK/hanging.
delete_range() {
  local count
  OUTPUT=$WORK/deleted run conntrack -D "${FILTER[@]}"
  count=$(wc -l <"$WORK/deleted")
  FLUSHED=$((FLUSHED + count))
  command_error conntrack
  # Older versions of conntrack stop at a connection that has ended in the meantime. Then the next walk continues.
  if [[ $count -eq 0 || $ERROR == *'been deleted'* ]]; then DELETED["${FILTER[*]}"]=yes; fi
  # Lines that occur once.
  sed -E "$shorten_flow" "$WORK/deleted" >"$WORK/shortened"
  sort "$WORK/shortened" "$WORK/shortened" "$WORK/hanging" | uniq -u >"$WORK/remaining"
  mv -f -- "$WORK/remaining" "$WORK/hanging"
}
