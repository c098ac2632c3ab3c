# --- The rule set ---

# These arrays have one entry for each line with a CIDR, in order. The keys of COUNT are "KIND FAMILY".
KINDS=() CIDRS=() NAMES=() FAMILIES=() HIS=() LOS=() LENS=() PROBES=()
declare -A COUNT=()
# A pattern for grep -E that matches the IPv4 destinations that parse_line accepts, and those that are reserved or have
# host bits.
readonly plain_octet='(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])' plain_length='([89]|[12][0-9]|3[0-2])'
readonly plain_destination="^masquerade (${plain_octet}[.]){3}${plain_octet}/$plain_length [A-Za-z0-9._:/@-]{1,63}\$"
OUT='' RANDOM_FULLY='' STEER='' FORMAT=0 RANK=0

# <file>: reads a rule set ("-" is stdin) into the variables above, ID, GENERATION and $WORK/ruleset. Fails with
# ERROR. ID is set as soon as the input is readable text.
load_ruleset() {
  local lines line number=0 count
  unpack "$1" "$WORK/ruleset" || return 1
  ruleset_id "$WORK/ruleset" || return 1
  ID=$REPLY
  mapfile -t lines <"$WORK/ruleset"
  while ((number < ${#lines[@]})); do
    line=${lines[number]} number=$((number + 1))
    # Not worth a process for few lines.
    if [[ $line == 'masquerade '* && $number -gt 2 && $RANK -lt 7 && ${#lines[@]} -gt 64 ]] && parse_destinations "$number"; then
      number=$((number + REPLY - 1))
    elif ! parse_line "$line" "$number"; then
      shorten "$line" 80
      error "line $number: \"$REPLY\": $ERROR"
      return 1
    fi
  done
  if [[ -z $GENERATION ]]; then
    error 'line 2: missing: expected generation DIGITS'
    return 1
  fi
  find_duplicate
  if [[ -n $REPLY ]]; then
    error "duplicate line \"$REPLY\""
    return 1
  fi
  count=$((${COUNT[masquerade 4]:-0} + ${COUNT[masquerade 6]:-0}))
  if ((count > max_destinations)); then
    error "$count masquerade lines: expected at most $max_destinations"
    return 1
  fi
  exempt_cloud_services
  check_probes "$number" || return 1
  warn_about_ruleset
}

# REPLY: the first line that occurs twice, or empty. A large rule set can have one only if its index has fewer ranges than
# lines, or if it has several options or probes.
find_duplicate() {
  local line
  declare -A seen=()
  REPLY=''
  ((${#lines[@]} <= 64 || ${#INDEX[@]} < ${#KINDS[@]} || ${#lines[@]} - ${#KINDS[@]} > 4)) || return 0
  for line in "${lines[@]}"; do
    if [[ -n ${seen[$line]:-} ]]; then
      REPLY=$line
      return
    fi
    seen[$line]=yes
  done
}

# Exempts cloud services whose addresses are inside a destination, as the cloud functions do. A rule set from another
# sender, or one that was stored by an older version of this program, may lack these exemptions.
exempt_cloud_services() {
  local service missing=()
  ((${COUNT[masquerade 6]:-0} > 0)) || return 0
  for service in "${cloud_services[@]}"; do
    parse_cidr "${service% *}"
    contains_address masquerade || continue
    if ! contains_address exempt; then missing+=("$service"); fi
  done
  for service in ${missing[@]+"${missing[@]}"}; do parse_range exempt "${service% *}" "${service#* }"; done
}

# <file> <target>: copies the file as plain text. The file may be text or base64-encoded gzip. Fails with ERROR.
unpack() {
  local start='' text=''
  if ! read_input "$1" "$2"; then
    error "cannot read $1"
    return 1
  fi
  IFS= read -r -d '' -n 4 start <"$2"
  # Every base64-encoded gzip file starts with these characters, and no plain rule set does.
  if [[ $start == H4sI ]] && ! unpack_gzip "$2"; then
    error 'invalid input: looks like base64-encoded gzip, but cannot be unpacked'
  elif IFS= read -r -d '' text <"$2"; then
    error 'input with NUL bytes: expected ASCII text'
  elif ((${#text} > max_bytes)); then
    error "input larger than $max_bytes bytes"
  elif [[ $text != *$'\n' ]]; then
    error 'input is empty, or has no line feed at its end (truncated?)'
  fi
}

# <file> <target>: copies the file, but at most one byte more than the size limit.
read_input() {
  # Standard input may be a socket, which cannot be opened by name.
  if [[ $1 == - ]]; then
    exec 3<&0
  else
    { exec 3<"$1"; } 2>/dev/null || return 1
  fi
  head -c $((max_bytes + 1)) <&3 >"$2" 2>/dev/null || return 1
  exec 3<&-
}

# <file>: unpacks the file in place, but at most one byte more than the size limit.
unpack_gzip() {
  { base64 -d | gzip -dc | head -c $((max_bytes + 1)); } <"$1" >"$WORK/unpacked" 2>/dev/null ||
    (($(wc -c <"$WORK/unpacked") > max_bytes)) || return
  mv -f -- "$WORK/unpacked" "$1"
}

# <line number>: adds all masquerade lines, from this one on, if they are plain IPv4 destinations. REPLY is their number. Fails,
# and adds nothing, if some of them are not, or could be wrong: parse_line then parses each, which takes far longer.
parse_destinations() {
  local i hi octet length number=$1 count=0 bad=0 last cidrs=() labels=() words=() his=() lengths=() is_used=() is_reserved=()
  grep -nE "$plain_destination" "$WORK/ruleset" >"$WORK/destinations" || return
  # Files, because bash reads a pipe byte by byte.
  cut -d ' ' -f 2 "$WORK/destinations" >"$WORK/cidrs"
  cut -d ' ' -f 3 "$WORK/destinations" >"$WORK/labels"
  tr ./ '  ' <"$WORK/cidrs" >"$WORK/words"
  mapfile -t cidrs <"$WORK/cidrs"
  mapfile -t labels <"$WORK/labels"
  read -r -d '' -a words <"$WORK/words"
  for i in $reserved_octets; do is_reserved[i]=1; done
  for ((i = 0; i < ${#words[@]}; i += 5)); do
    octet=${words[i]} length=${words[i + 4]}
    ((hi = (octet << 24 | words[i + 1] << 16 | words[i + 2] << 8 | words[i + 3]) << 32,
    bad |= is_reserved[octet] | hi & ~MASK_HI[length], is_used[length] = 1, lengths[count] = length, his[count++] = hi))
  done
  last=$(exec tail -n 1 "$WORK/destinations") last=${last%%:*}
  # Nothing may stand between the destinations.
  ((bad == 0 && last == number + count - 1)) || return
  [[ ${lines[last]:-} != 'masquerade '* ]] || return
  CIDRS+=("${cidrs[@]}") NAMES+=("${labels[@]}") HIS+=("${his[@]}") LENS+=("${lengths[@]}")
  KINDS+=("${his[@]/*/masquerade}") FAMILIES+=("${his[@]/*/4}") LOS+=("${his[@]/*/0}")
  for ((i = 0; i < count; i++)); do INDEX["masquerade 4 ${lengths[i]} ${his[i]} 0"]=yes; done
  for i in "${!is_used[@]}"; do LENGTHS[masquerade 4]+=" $i"; done
  COUNT[masquerade 4]=$count RANK=7 REPLY=$count
}

# <line> <number>: parses one line of a rule set into the variables above. Fails with ERROR.
parse_line() {
  local line=$1 rank
  case $2 in
    1)
      if [[ ! $line =~ ^peermasq/([1-9])$ ]] || ((BASH_REMATCH[1] > max_format)); then
        error "expected peermasq/1 or peermasq/$max_format"
        return
      fi
      FORMAT=${BASH_REMATCH[1]}
      return
      ;;
    2)
      # JSON parsers would round a number with more digits.
      if [[ ! $line =~ ^generation\ (0|[1-9][0-9]{0,14})$ ]]; then
        error 'expected generation DIGITS'
        return
      fi
      GENERATION=${BASH_REMATCH[1]}
      return
      ;;
  esac
  # shellcheck disable=SC2086 # split on purpose; set -f keeps the words as they are
  set -- $line
  case $#${1-} in
    2option | 3option) rank=3 ;;
    2source) rank=5 ;;
    3exempt) rank=6 ;;
    3masquerade) rank=7 ;;
    2probe) rank=8 ;;
    *) rank='' ;;
  esac
  if [[ -z $rank || $line != "$*" ]]; then
    error 'expected option, source CIDR, exempt CIDR NAME, masquerade CIDR NAME or probe ADDRESS:PORT'
    return 1
  elif ((rank < RANK)); then
    error 'out of order: expected option, source, exempt, masquerade, probe'
    return 1
  fi
  RANK=$rank
  case $1 in
    option) parse_option "${*:2}" ;;
    probe) parse_probe "$2" ;;
    *) parse_range "$1" "$2" "${3-}" ;;
  esac
}

# <option>
parse_option() {
  local name=${1#out }
  if [[ $1 == random-fully ]]; then
    RANDOM_FULLY=yes
  elif [[ $1 == steer && $FORMAT -ge 2 ]]; then
    STEER=yes
  elif [[ $1 == 'out '* && -z $OUT && $name =~ ^[A-Za-z0-9._-]{1,15}$ && $name != . && $name != .. ]]; then
    OUT=$name
  else
    error 'invalid option: expected random-fully, steer (from peermasq/2), or out IFNAME once'
  fi
}

# <kind> <cidr> <name>
parse_range() {
  if [[ $1 != source && ${#3} -gt 63 || $3 == *[!A-Za-z0-9._:/@-]* ]]; then
    error 'invalid name: expected [A-Za-z0-9._:/@-]{1,63}'
    return 1
  fi
  parse_cidr "$2" || return 1
  if [[ $1 == masquerade ]]; then
    check_destination "$2" || return 1
  fi
  add_range "$@"
}

# <kind> <cidr> <name>: adds the range that was parsed last, also to the index of section 35.
add_range() {
  local key="$1 $FAMILY"
  COUNT[$key]=$((${COUNT[$key]:-0} + 1))
  KINDS+=("$1") CIDRS+=("$2") NAMES+=("$3") FAMILIES+=("$FAMILY") HIS+=("$HI") LOS+=("$LO") LENS+=("$LENGTH")
  INDEX["$key $LENGTH $HI $LO"]=yes
  if [[ " ${LENGTHS[$key]:-} " != *" $LENGTH "* ]]; then LENGTHS[$key]+=" $LENGTH"; fi
}

# <address:port>
parse_probe() {
  if [[ ! $1 =~ ^(([0-9.]+)|\[([0-9a-f:]+)\]):([1-9][0-9]{0,4})$ ]] || ((BASH_REMATCH[4] > 65535)) ||
    ! parse_address "${BASH_REMATCH[2]}${BASH_REMATCH[3]}"; then
    error 'invalid probe: expected IPV4:PORT or [IPV6]:PORT'
    return 1
  fi
  PROBES+=("$1")
}

# <lines>: checks the probes. <lines> is the length of the rule set, whose last lines are the probes. Fails with ERROR
# unless the rule set masquerades traffic to each probe. Otherwise a rule set could make the node connect to any
# address, such as its own loopback address.
check_probes() {
  local probe address line=$(($1 - ${#PROBES[@]}))
  for probe in ${PROBES[@]+"${PROBES[@]}"}; do
    line=$((line + 1)) address=${probe%:*} address=${address#\[}
    parse_address "${address%\]}"
    contains_address masquerade && ! contains_address exempt && continue
    error "line $line: \"probe $probe\": not masqueraded: expected an address in a masquerade line and in no exempt line"
    return 1
  done
}

# The text that ruleset_id hashed last, and its hash. The stored rule set and the sent one often differ only in the
# generation, in which case they have the same hash.
SUMMED='' SUM=''

# <file>: REPLY is the sha256 hash of all lines except the generation.
ruleset_id() {
  local lines text
  mapfile lines <"$1"
  printf -v text '%s' "${lines[@]:0:1}" "${lines[@]:2}"
  if [[ $text != "$SUMMED" ]]; then
    printf '%s' "$text" >"$WORK/summed" || return 1
    SUM=$(exec sha256sum <"$WORK/summed") || return 1
    SUMMED=$text SUM=${SUM%% *}
  fi
  REPLY=$SUM
}

warn_about_ruleset() {
  local family other count
  for family in 4 6; do
    other=$((10 - family))
    count=${COUNT[masquerade $family]:-0}
    if ((count > 0 && ${COUNT[source $family]:-0} == 0 && ${COUNT[source $other]:-0} > 0)); then
      warn "no IPv$family source: IPv$family destinations are not masqueraded ($count)"
    fi
  done
  if ((${#PROBES[@]} > max_probes)); then warn "only the first $max_probes of ${#PROBES[@]} probes are run"; fi
}
