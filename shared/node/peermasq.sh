#!/usr/bin/env bash
# peermasq: the node program
#
# Keeps one rule set in force on a Kubernetes node, so that pods reach the destinations it names with the
# node's address. It needs bash >= 4, coreutils, flock, and iptables or nft. `peermasq.sh help` tells the rest.
# Nothing runs before the last line, so a file that was cut off while it travelled does nothing.
set -u -f -o pipefail
export LC_ALL=C
PATH=${PATH:-/usr/bin}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin
umask 077

usage() {
  cat <<'USAGE'
usage: bash peermasq.sh COMMAND
  apply [--file F]   puts the rule set in F (else stdin) in force, and proves it
  status             tells what is in force, what drifted, and who else masquerades
  repair             re-applies the kept rule set where it drifted
  probe              connects to the rule set's probes from an address of the pod range
  remove             takes away everything that is peermasq's, and nothing else
  look [--part N]    prints the tables, sets, addresses and routes that decide what is masqueraded; --part: packed,
                     in parts; part 0 takes the snapshot that the others are of
  watch [--install]  GCE: follows the instance metadata; --install: in the background, from now on
Each prints one line of JSON on stdout, except look, and watch, which writes it to the guest attribute peermasq/status.
exit: 0 applied or unchanged; 2 refused, nothing changed; 3 failed, previous rules still in force; 4 busy
environment:
  PEERMASQ_DIR       folder of the kept files (/var/lib/peermasq)
  PEERMASQ_BACKEND   auto (default), iptables, iptables-nft, iptables-legacy or nft
  PEERMASQ_PERSIST   0 leaves systemd alone
  PEERMASQ_WAIT      seconds to wait for a lock (10)
  PEERMASQ_INTERVAL  seconds between two looks of watch when nothing changes (60)
USAGE
}

# Every new connection walks a list. Measured with iptables-nft, new connections a second against one rule: 25 rules
# 100 %, 50 rules 90 %, 100 rules 72 %, a set 95 %. Up to here a list is as fast, and its rules name their destinations.
readonly set_threshold=32
readonly max_bytes=2097152 max_destinations=10000 max_probes=16 heal_seconds=5 probe_seconds=3
readonly marker='# peermasq: the node program'
readonly jump='-A POSTROUTING -m comment --comment peermasq -j PEERMASQ'
readonly unit_folders='/etc/systemd/system /run/systemd/system'

# Results of the functions below; bash has no other way to return text without a fork.
RESULT='' REASON='' PROVEN=false BACKEND='' RULES=0 PACKETS=0 HEALED=0 PERSISTED=no
WARNINGS=() DRIFT=() PROBED=() MASQUERADERS=()
ID='' GENERATION='' KEPT_ID='' KEPT_GENERATION=''
DIR='' WORK='' PROGRAM='' FINISHED=''

# --- Reports ---

say() { printf 'peermasq: %s\n' "$*" >&2; }
warn() { WARNINGS+=("$1"); say "$1"; }

# REPLY: the text in at most $2 characters. What is not printable ASCII becomes "?".
shorten() {
  REPLY=${1//[^ -~]/?}
  ((${#REPLY} <= $2)) || REPLY=${REPLY:0:$2-3}...
}

# REPLY: the text, shortened, as a JSON string.
json_string() {
  shorten "$1" "$2"
  REPLY=${REPLY//\\/\\\\}
  REPLY="\"${REPLY//\"/\\\"}\""
}

# REPLY: a JSON list of at most $1 characters. The rest is counted: a report has to fit in 2,000 bytes.
json_list() {
  local budget=$1 list='' item
  shift
  while (($# > 0)); do
    item=$1
    [[ $item == '{'* ]] || { json_string "$item" 160 && item=$REPLY; }
    ((${#list} + ${#item} > budget)) && break
    list+=${list:+,}$item
    shift
  done
  (($# == 0)) || [[ $item == '{'* ]] || list+="${list:+,}\"and $# more\""
  REPLY="[$list]"
}

# Appends `,"KEY":"TEXT"` to REPORT, or null for no text. $3 is the quote: none for a number.
add_or_null() { REPORT+=",\"$1\":${2:+$3$2$3}" && [[ -n $2 ]] || REPORT+=null; }

# REPLY: when process 1 of this node started, in seconds since the epoch. The kernel counts hundredths from its own start.
boot_time() {
  local line key value
  { read -r line </proc/1/stat; } 2>/dev/null || return 1
  # The name of the program, in brackets, may hold anything.
  # shellcheck disable=SC2086 # split on purpose
  set -- ${line##*) }
  while read -r key value _; do
    [[ $key == btime ]] && REPLY=$((value + ${20} / 100)) && return
  done </proc/stat
  return 1
}

# Prints the report in the order that its readers know: the verdict first, then what is in force.
print_report() {
  REPORT="{\"result\":\"$RESULT\",\"proven\":$PROVEN"
  add_or_null id "$KEPT_ID" '"'
  # What was offered and is not in force, so that its sender knows that this is the answer.
  [[ -z $ID || $ID == "$KEPT_ID" ]] || REPORT+=",\"offered\":\"$ID\""
  add_or_null generation "$KEPT_GENERATION" ''
  add_or_null backend "$BACKEND" '"'
  ! boot_time || REPORT+=",\"booted\":$REPLY"
  [[ -z $REASON ]] || { json_string "$REASON" 240 && REPORT+=",\"reason\":$REPLY"; }
  if [[ $RESULT == status ]]; then
    json_list 300 ${DRIFT[@]+"${DRIFT[@]}"}
    REPORT+=",\"drift\":$REPLY,\"rules\":$RULES,\"packets\":$PACKETS,\"persisted\":\"$PERSISTED\""
    json_list 480 ${MASQUERADERS[@]+"${MASQUERADERS[@]}"}
    REPORT+=",\"masqueraders\":$REPLY"
  else
    REPORT+=",\"rules\":$RULES,\"healed\":$HEALED,\"persisted\":\"$PERSISTED\""
  fi
  json_list 480 ${WARNINGS[@]+"${WARNINGS[@]}"}
  REPORT+=",\"warnings\":$REPLY"
  [[ $RESULT == status ]] || { json_list 480 ${PROBED[@]+"${PROBED[@]}"} && REPORT+=",\"probes\":$REPLY"; }
  REPORT+='}' FINISHED=yes
  printf '%s\n' "$REPORT"
}

# Ends with code $1, result $2 and reason $3. What tells of the rules in force is kept.
finish() {
  RESULT=$2 REASON=${3:-$REASON}
  [[ -z $REASON ]] || say "$RESULT: $REASON"
  print_report
  case $RESULT in applied | unchanged | failed) [[ -z $KEPT_ID ]] || keep_text status "$REPORT" ;; esac
  exit "$1"
}

# A report is owed however the program ends: by a signal too, or by a fault of ours.
end() {
  local code=$?
  [[ -z $WORK ]] || rm -rf -- "$WORK"
  [[ -n $FINISHED ]] || { RESULT=failed PROVEN=false REASON="ended early, with $code" && print_report && exit 3; }
}

refuse() { finish 2 refused "$1"; }
fail() { finish 3 failed "$1"; }
busy() { finish 4 busy "$1"; }

# --- Addresses ---
# An address is two 64-bit words, HI and LO; IPv4 uses the upper half of HI, so one arithmetic serves both.
# Globs instead of regular expressions, and few calls: 10,000 lines pass through here.

FAMILY=0 HI=0 LO=0 LENGTH=0
# By prefix length; IPv4 uses the first 33.
MASK_HI=() MASK_LO=()
for ((LENGTH = 0; LENGTH <= 128; LENGTH++)); do
  MASK_HI+=($((LENGTH == 0 ? 0 : LENGTH >= 64 ? -1 : -1 << (64 - LENGTH))))
  MASK_LO+=($((LENGTH <= 64 ? 0 : -1 << (128 - LENGTH))))
done

# Sets FAMILY, HI and LO. Fails unless the text is a canonical address (RFC 5952 for IPv6).
parse_address() {
  if [[ $1 == *:* ]]; then
    parse_ipv6 "$1"
    return
  fi
  local IFS=.
  FAMILY=4 LO=0
  [[ $1 != *[!0-9.]* && .$1. != *.0[0-9]* && .$1. != *..* && $1 != *[0-9][0-9][0-9][0-9]* ]] || return 1
  # shellcheck disable=SC2086 # split on purpose; set -f keeps the words as they are
  set -- $1
  (($# == 4)) && (($1 <= 255 && $2 <= 255 && $3 <= 255 && $4 <= 255)) && HI=$((($1 << 24 | $2 << 16 | $3 << 8 | $4) << 32))
}

parse_ipv6() {
  local text=$1 parts rest=() IFS=:
  FAMILY=6
  [[ $text != *[!0-9a-f:]* && $text != *[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]* && $text != *:::* ]] || return 1
  # shellcheck disable=SC2206 # as above; what is not canonical is found by printing it again
  parts=(${text%%::*})
  if [[ $text == *::* ]]; then
    # shellcheck disable=SC2206
    rest=(${text#*::})
    while ((${#parts[@]} + ${#rest[@]} < 8)); do parts+=(0); done
    parts+=(${rest[@]+"${rest[@]}"})
  fi
  ((${#parts[@]} == 8)) || return 1
  HI=$((16#0${parts[0]} << 48 | 16#0${parts[1]} << 32 | 16#0${parts[2]} << 16 | 16#0${parts[3]}))
  LO=$((16#0${parts[4]} << 48 | 16#0${parts[5]} << 32 | 16#0${parts[6]} << 16 | 16#0${parts[7]}))
  print_ipv6
  [[ $REPLY == "$text" ]]
}

# REPLY: HI and LO in canonical text: no leading zeros, "::" for the first longest run of two zeros or more.
print_ipv6() {
  local text zeros
  printf -v text ':%x:%x:%x:%x:%x:%x:%x:%x:' $((HI >> 48 & 65535)) $((HI >> 32 & 65535)) $((HI >> 16 & 65535)) \
    $((HI & 65535)) $((LO >> 48 & 65535)) $((LO >> 32 & 65535)) $((LO >> 16 & 65535)) $((LO & 65535))
  for zeros in 0:0:0:0:0:0:0:0 0:0:0:0:0:0:0 0:0:0:0:0:0 0:0:0:0:0 0:0:0:0 0:0:0 0:0; do
    [[ $text == *:$zeros:* ]] && text=${text/:$zeros:/::} && break
  done
  [[ $text == ::* ]] || text=${text#:}
  [[ $text == *:: ]] || text=${text%:}
  REPLY=$text
}

# Sets FAMILY, HI, LO and LENGTH, or FAULT to what is wrong with the CIDR.
parse_cidr() {
  FAULT='is not a canonical CIDR, e.g. 10.193.0.0/16 or fd00:1::/32'
  LENGTH=${1#*/}
  [[ $1 == */* && $LENGTH == [1-9]* && $LENGTH != *[!0-9]* && ${#LENGTH} -le 3 ]] || return 1
  parse_address "${1%%/*}" && ((LENGTH <= (FAMILY == 4 ? 32 : 128))) || return 1
  FAULT='has host bits set; accepted is the first address of the range'
  ((HI == (HI & MASK_HI[LENGTH]) && LO == (LO & MASK_LO[LENGTH]))) || return 1
  # The kernel's tools print these with dots, so what is read back would not be what was meant.
  FAULT='is IPv4 inside IPv6; accepted is the IPv4 CIDR'
  ((FAMILY == 4 || HI != 0 || LENGTH <= 64 || LO >> 32 != 0 && LO >> 32 != 65535))
}

# Ranges that never lie behind a peering. Masquerading to link-local would give every pod the node's own
# credentials at the metadata server. ::/64 holds ::1 and IPv4 inside IPv6.
readonly reserved=(0.0.0.0/8 127.0.0.0/8 169.254.0.0/16 224.0.0.0/4 240.0.0.0/4 ::/64 fe80::/10 ff00::/8)
readonly reserved_words=(0 0x7f 0xa9fe 0xe0 0xf0 0 0xfe80 0xff00) reserved_shifts=(0 56 48 56 56 0 48 48)

# Fails, with FAULT, where the CIDR just parsed is, lies in or contains a reserved range.
may_be_destination() {
  local i first=0 last=4 length
  # The common case at once: a range of a /16 or less, by its first octets.
  ((FAMILY == 4 && LENGTH >= 16)) && case $((HI >> 56 & 255)) in 0 | 127 | 169 | 22[4-9] | 2[345]?) ;; *) return 0 ;; esac
  ((FAMILY == 4)) || first=5 last=7
  for ((i = first; i <= last; i++)); do
    length=${reserved[i]#*/}
    ((length < LENGTH)) || length=$LENGTH
    FAULT="overlaps ${reserved[i]}; accepted are ranges that a peering can reach"
    ((((HI ^ reserved_words[i] << reserved_shifts[i]) & MASK_HI[length]) != 0)) || return 1
  done
}

# --- The rule set ---

# One entry per line that carries a CIDR, in order. COUNT is by "KIND FAMILY".
KINDS=() CIDRS=() NAMES=() FAMILIES=() HIS=() LOS=() LENS=() PROBES=()
declare -A COUNT=() INDEX=() LENGTHS=()
OUT='' RANDOM_FULLY='' RANK=0 FAULT=''

# Reads the rule set in file $1 (- is stdin) whole: the globals above, ID, GENERATION and $WORK/ruleset.
# Fails with FAULT; ID is set as soon as there is a text to take it from.
load() {
  local lines line number=0 masquerades
  unpack "$1" "$WORK/ruleset" && ruleset_id "$WORK/ruleset" && ID=$REPLY || return 1
  mapfile -t lines <"$WORK/ruleset"
  for line in "${lines[@]}"; do
    number=$((number + 1))
    if ! parse_line "$line" "$number"; then
      shorten "$line" 80
      FAULT="line $number: \"$REPLY\" $FAULT"
      return 1
    fi
  done
  FAULT='line 2: missing; accepted is: generation DIGITS' && [[ -n $GENERATION ]] || return 1
  line=$(sort "$WORK/ruleset" | uniq -d | head -n 1)
  FAULT="\"$line\" is there twice" && [[ -z $line ]] || return 1
  masquerades=$((${COUNT[masquerade 4]:-0} + ${COUNT[masquerade 6]:-0}))
  FAULT="$masquerades masquerade lines; accepted are $max_destinations"
  ((masquerades <= max_destinations)) || return 1
  warn_of_ruleset
}

# Copies $1 to $2 as plain text, whether it came as text or as gzip in base64. Fails with FAULT.
unpack() {
  local nulls last
  FAULT="cannot read $1"
  # Standard input may be a socket, which cannot be opened by a name.
  if [[ $1 == - ]]; then exec 3<&0; else { exec 3<"$1"; } 2>/dev/null || return 1; fi
  head -c $((max_bytes + 1)) <&3 >"$WORK/input" 2>/dev/null || return 1
  exec 3<&-
  # No plain text starts so, and every gzip does in base64.
  if [[ $(head -c 4 "$WORK/input" | tr -d '\0') == H4sI ]]; then
    FAULT='the input starts like gzip in base64, but is not'
    { base64 -d | gzip -dc | head -c $((max_bytes + 1)); } <"$WORK/input" >"$2" 2>/dev/null ||
      (($(wc -c <"$2") > max_bytes)) || return 1
  else
    cp "$WORK/input" "$2"
  fi
  FAULT="the input has more than $max_bytes bytes"
  (($(wc -c <"$2") <= max_bytes)) || return 1
  FAULT='the input has NUL bytes; accepted is ASCII text'
  nulls=$(tr -dc '\0' <"$2" | wc -c)
  ((nulls == 0)) || return 1
  FAULT='the input is empty or its last line has no LF at its end (cut off?)'
  last=$(tail -c 1 "$2" && printf x)
  [[ $last == $'\n'x ]]
}

# Takes line $1, which is number $2, into the globals. Fails with FAULT.
parse_line() {
  local line=$1 rank
  FAULT='is not accepted here; the first two lines are: peermasq/1, generation DIGITS'
  case $2 in
    1) [[ $line == peermasq/1 ]]; return ;;
    2) [[ $line =~ ^generation\ (0|[1-9][0-9]{0,15})$ ]] && GENERATION=${BASH_REMATCH[1]}; return ;;
  esac
  # shellcheck disable=SC2086 # as above
  set -- $line
  FAULT='is not a line of the grammar: option, source CIDR, exempt CIDR NAME, masquerade CIDR NAME, probe ADDRESS:PORT'
  [[ $line == "$*" ]] || return 1
  case $#${1-} in 2option | 3option) rank=3 ;; 2source) rank=5 ;; 3exempt) rank=6 ;; 3masquerade) rank=7 ;; 2probe) rank=8 ;; *) return 1 ;; esac
  FAULT='is out of order; accepted is: option, source, exempt, masquerade, probe'
  ((rank >= RANK)) && RANK=$rank || return 1
  case $1 in
    option) parse_option "${*:2}" ;;
    probe) parse_probe "$2" ;;
    *) parse_range "$1" "$2" "${3-}" ;;
  esac
}

parse_option() {
  FAULT='is not accepted; accepted are, once each: option random-fully, option out IFNAME'
  case $1 in
    random-fully) RANDOM_FULLY=yes ;;
    out\ *) [[ -z $OUT && ${1#out } =~ ^[A-Za-z0-9._-]{1,15}$ && ${1#out } != . && ${1#out } != .. ]] && OUT=${1#out } ;;
    *) return 1 ;;
  esac
}

parse_range() {
  FAULT='has a name that is not [A-Za-z0-9._:/@-]{1,63}'
  [[ $1 == source ]] || ((${#3} <= 63)) && [[ $3 != *[!A-Za-z0-9._:/@-]* ]] || return 1
  parse_cidr "$2" || return 1
  [[ $1 != masquerade ]] || may_be_destination || return 1
  KINDS+=("$1") CIDRS+=("$2") NAMES+=("$3") FAMILIES+=("$FAMILY") HIS+=("$HI") LOS+=("$LO") LENS+=("$LENGTH")
  COUNT["$1 $FAMILY"]=$((${COUNT["$1 $FAMILY"]:-0} + 1))
}

parse_probe() {
  FAULT='is not a probe; accepted are: probe IPV4:PORT, probe [IPV6]:PORT'
  [[ $1 =~ ^(([0-9.]+)|\[([0-9a-f:]+)\]):([1-9][0-9]{0,4})$ ]] || return 1
  ((BASH_REMATCH[4] <= 65535)) || return 1
  parse_address "${BASH_REMATCH[2]}${BASH_REMATCH[3]}" && PROBES+=("$1")
}

# REPLY: sha256 of all lines but the generation line.
ruleset_id() {
  REPLY=$({ head -n 1 -- "$1" && tail -n +3 -- "$1"; } | sha256sum) && REPLY=${REPLY%% *}
}

warn_of_ruleset() {
  local family other
  for family in 4 6; do
    other=$((10 - family))
    if ((${COUNT[masquerade $family]:-0} > 0 && ${COUNT[source $family]:-0} == 0 && ${COUNT[source $other]:-0} > 0)); then
      warn "no IPv$family source: the ${COUNT[masquerade $family]} IPv$family destinations are not masqueraded"
    fi
  done
  ((${#PROBES[@]} <= max_probes)) || warn "only the first $max_probes of ${#PROBES[@]} probes are run"
}

# Is the address FAMILY, HI, LO in a line of kind $1?
is_in() {
  local length
  ((${#INDEX[@]} > 0)) || make_index
  for length in ${LENGTHS["$1 $FAMILY"]:-}; do
    [[ -n ${INDEX["$1 $FAMILY $length $((HI & MASK_HI[length])) $((LO & MASK_LO[length]))"]:-} ]] && return 0
  done
  return 1
}

# One look-up for each length that occurs, however many the lines are.
make_index() {
  local i key
  INDEX[made]=yes
  for ((i = 0; i < ${#KINDS[@]}; i++)); do
    key="${KINDS[i]} ${FAMILIES[i]}"
    INDEX["$key ${LENS[i]} ${HIS[i]} ${LOS[i]}"]=yes
    [[ " ${LENGTHS[$key]:-} " == *" ${LENS[i]} "* ]] || LENGTHS[$key]="${LENGTHS[$key]:-} ${LENS[i]}"
  done
}

is_source() { [[ -z ${COUNT[source 4]:-}${COUNT[source 6]:-} ]] || is_in source; }

# Does the rule set have rules for the family? IPv4 always: its chain says that a rule set is in force.
concerns() { [[ $1 == 4 || -n "${COUNT[source 6]:-}${COUNT[exempt 6]:-}${COUNT[masquerade 6]:-}" ]]; }

# REPLY: the positions of the lines of kind $1 and family $2.
positions() {
  local i
  REPLY=''
  for ((i = 0; i < ${#KINDS[@]}; i++)); do
    [[ ${KINDS[i]} == "$1" && ${FAMILIES[i]} == "$2" ]] && REPLY+="$i "
  done
  return 0
}

# FORM[KIND FAMILY] is "list" (a rule for each range) or "set" (one rule, with the ranges in a set).
declare -A FORM=()
choose_forms() {
  local family kind sources rules
  for family in 4 6; do
    sources=${COUNT[source $family]:-0}
    for kind in exempt masquerade; do
      rules=${COUNT[$kind $family]:-0}
      [[ $kind == masquerade ]] && rules=$((rules * (sources > 1 ? sources : 1)))
      FORM[$kind $family]=list
      ((rules > set_threshold)) && FORM[$kind $family]='set'
    done
  done
}

uses_sets() { [[ " ${FORM[*]} " == *' set '* ]]; }

use_lists() {
  local key
  for key in "${!FORM[@]}"; do FORM[$key]=list; done
}

# Calls `$1 FAMILY SOURCE DESTINATION NAME` for each masquerade rule of family $2. SOURCE and DESTINATION are
# positions; '' means any source, and all destinations (in a set).
each_masquerade_rule() {
  local emit=$1 family=$2 sources destinations source i
  positions source "$family" && sources=$REPLY
  positions masquerade "$family" && destinations=$REPLY
  [[ -n $destinations ]] || return 0
  [[ -n $sources || -z ${COUNT[source 4]:-}${COUNT[source 6]:-} ]] || return 0
  for source in ${sources:-any}; do
    source=${source#any}
    if [[ ${FORM[masquerade $family]} == set ]]; then
      "$emit" "$family" "$source" '' "${COUNT[masquerade $family]} destinations"
    else
      for i in $destinations; do "$emit" "$family" "$source" "$i" "${NAMES[i]}"; done
    fi
  done
}

# Calls `$1 FAMILY EXEMPTION NAME` for each exemption of family $2, likewise.
each_exemption() {
  local emit=$1 family=$2 i
  if [[ ${FORM[exempt $family]} == set ]]; then
    "$emit" "$family" '' "${COUNT[exempt $family]} exemptions"
  else
    positions exempt "$family"
    for i in $REPLY; do "$emit" "$family" "$i" "${NAMES[i]}"; done
  fi
}

# --- iptables ---

has() {
  local folder IFS=:
  for folder in $PATH; do [[ -f $folder/$1 && -x $folder/$1 ]] && return; done
  return 1
}

# REPLY: "nft" or "legacy", what the alternative `iptables` is. Before 1.8 there was only legacy.
default_flavour() {
  local version
  has iptables-restore && version=$(iptables -V 2>/dev/null) || return 1
  case $version in *nf_tables*) REPLY=nft ;; *) REPLY=legacy ;; esac
}

# REPLY: the command for backend $1, family $2 and suffix $3, e.g. ip6tables-nft-restore. Fails if it is not there.
iptables_command() {
  local stem=iptables flavour=${1#iptables-}
  [[ $2 == 6 ]] && stem=ip6tables
  if has "$stem-$flavour$3"; then
    REPLY=$stem-$flavour$3
  else
    default_flavour && [[ $REPLY == "$flavour" ]] && has "$stem$3" && REPLY=$stem$3
  fi
}

# REPLY: the legacy tables of family $1, a line each. To ask for one that is not there would load its module.
legacy_tables() {
  local names=/proc/net/ip_tables_names
  [[ $1 == 6 ]] && names=/proc/net/ip6_tables_names
  REPLY=''
  [[ ! -r $names ]] || REPLY=$(<"$names")
}

# Writes table $3 of a backend and family to $WORK/table, without making a table that is not there.
iptables_save() {
  local backend=$1 family=$2 table=$3
  : >"$WORK/table"
  if [[ $backend == iptables-legacy ]]; then
    legacy_tables "$family"
    [[ $'\n'$REPLY$'\n' == *$'\n'$table$'\n'* ]] || return 0
  fi
  iptables_command "$backend" "$family" -save && "$REPLY" -c -t "$table" >"$WORK/table" 2>"$WORK/errors"
}

# What iptables_read finds: our chain as saved, our jumps as saved, and the rules of others that rewrite sources.
CHAIN='' HAS_CHAIN='' JUMPS=() JUMP_IS_FIRST=''

iptables_read() {
  local line rule count postrouting=0
  CHAIN='' HAS_CHAIN='' JUMPS=() JUMP_IS_FIRST=''
  iptables_save "$1" "$2" nat || return 1
  while IFS= read -r line; do
    rule=${line#*\] }
    case $rule in
      ':PEERMASQ '*) HAS_CHAIN=yes ;;
      '-A PEERMASQ '*)
        CHAIN+=$rule$'\n'
        RULES=$((RULES + 1)) count=${line#\[}
        [[ $rule == *' -j MASQUERADE'* ]] && PACKETS=$((PACKETS + ${count%%:*}))
        ;;
      '-A POSTROUTING '*'-j PEERMASQ')
        [[ $postrouting -eq 0 && $rule == "$jump" ]] && JUMP_IS_FIRST=yes
        JUMPS+=("$rule")
        ;;
      '-A POSTROUTING '*' -j MASQUERADE'* | '-A POSTROUTING '*' -j SNAT'*) add_masquerader "direct: $rule" ;;
      '-A '*' -j MASQUERADE'* | '-A '*' -j SNAT'*) rule=${rule#-A } && add_masquerader "${rule%% *}" ;;
    esac
    if [[ $rule == '-A POSTROUTING '* ]]; then postrouting=$((postrouting + 1)); fi
  done <"$WORK/table"
}

add_masquerader() {
  local known
  ((${#MASQUERADERS[@]} < 20)) || return 0
  for known in ${MASQUERADERS[@]+"${MASQUERADERS[@]}"}; do [[ $known == "$1" ]] && return; done
  MASQUERADERS+=("$1")
}

# CHAIN_TEXT: our chain for family $1, as iptables-save prints it, so that one text serves to write and to compare.
iptables_render() {
  CHAIN_TEXT=''
  each_exemption iptables_exemption "$1"
  each_masquerade_rule iptables_masquerade "$1"
}

iptables_exemption() {
  local match
  if [[ -n $2 ]]; then match="-d ${CIDRS[$2]}"; else set_name exempt "$1" && match="-m set --match-set $REPLY dst"; fi
  CHAIN_TEXT+="-A PEERMASQ $match -m comment --comment \"peermasq: $3\" -j RETURN"$'\n'
}

iptables_masquerade() {
  local set=''
  [[ -n $3 ]] || { set_name masquerade "$1" && set=" -m set --match-set $REPLY dst"; }
  CHAIN_TEXT+="-A PEERMASQ${2:+ -s ${CIDRS[$2]}}${3:+ -d ${CIDRS[$3]}}${OUT:+ -o $OUT}$set -m addrtype ! --dst-type LOCAL"
  CHAIN_TEXT+=" -m comment --comment \"peermasq: $4\" -j MASQUERADE${RANDOM_FULLY:+ --random-fully}"$'\n'
}

# Runs $WORK/transaction. Fails with 3 or, when the lock is held, 4, and FAULT.
iptables_commit() {
  local code
  FAULT="$1 has no command for IPv$2" && iptables_command "$1" "$2" -restore || return 3
  "$REPLY" --noflush -w "$WAIT" <"$WORK/transaction" >/dev/null 2>"$WORK/errors"
  code=$?
  ((code == 0)) && return 0
  FAULT="$REPLY: $(head -n 1 "$WORK/errors")"
  ((code == 4)) && return 4
  return 3
}

# Our jumps as lines that delete them: by what they say and not by number, because another program may
# insert a rule between our reading and our writing. Such a line then fails, and with it the transaction.
delete_jumps() {
  local line
  for line in ${JUMPS[@]+"${JUMPS[@]}"}; do printf -- '-D%s\n' "${line#-A}"; done
}

# Makes our chain of family $1 hold the rules $2 and be reached first and once, in one transaction.
iptables_put() {
  local code=3 attempt
  for attempt in 1 2; do
    FAULT="cannot read table nat of $BACKEND" && iptables_read "$BACKEND" "$1" || return 3
    {
      printf '*nat\n:PEERMASQ - [0:0]\n%s' "$2"
      if [[ ${#JUMPS[@]} -ne 1 || -z $JUMP_IS_FIRST ]]; then
        delete_jumps
        printf -- '-I POSTROUTING 1%s\n' "${jump#-A POSTROUTING}"
      fi
      printf 'COMMIT\n'
    } >"$WORK/transaction"
    iptables_commit "$BACKEND" "$1"
    code=$?
    ((code == 3)) || break
    say "attempt $attempt: $FAULT"
  done
  return "$code"
}

# Takes our chain and jumps of backend $1 and family $2 away.
iptables_drop() {
  FAULT="cannot read table nat of $1" && iptables_read "$1" "$2" || return 3
  [[ -n $HAS_CHAIN || ${#JUMPS[@]} -gt 0 ]] || return 0
  { printf '*nat\n' && delete_jumps && printf -- '-F PEERMASQ\n-X PEERMASQ\nCOMMIT\n'; } >"$WORK/transaction"
  iptables_commit "$1" "$2"
}

# Puts the rule set in force for both families, or leaves what was there. Fails with 3 or 4 and FAULT.
iptables_change() {
  local code=0 cause previous='' had=''
  iptables_read "$BACKEND" 4 && previous=$CHAIN had=$HAS_CHAIN
  iptables_render 4
  iptables_put 4 "$CHAIN_TEXT" || return
  if concerns 6; then
    iptables_render 6
    iptables_put 6 "$CHAIN_TEXT"
  else
    iptables_drop "$BACKEND" 6
  fi
  code=$?
  ((code != 0)) || return 0
  cause=$FAULT
  if [[ -n $had ]]; then iptables_put 4 "$previous"; else iptables_drop "$BACKEND" 4; fi ||
    cause+="; taking the IPv4 rules back failed too ($FAULT): run repair"
  FAULT=$cause
  return "$code"
}

# Compares one family with what is meant, adding to DRIFT. A list and a set mean the same.
iptables_observe() {
  local family=$1 kind note=''
  [[ $family == 6 ]] && note=' (IPv6)'
  iptables_read "$BACKEND" "$family" || { DRIFT+=("table nat cannot be read$note") && return; }
  if ! concerns "$family"; then
    [[ -z $HAS_CHAIN ]] || DRIFT+=("chain not wanted$note")
    return
  fi
  for kind in exempt masquerade; do
    set_name "$kind" "$family" && FORM[$kind $family]=list
    [[ $CHAIN == *" --match-set $REPLY dst "* ]] && FORM[$kind $family]='set'
  done
  iptables_render "$family"
  if [[ -z $HAS_CHAIN ]]; then
    DRIFT+=("chain missing$note")
  elif [[ $CHAIN != "$CHAIN_TEXT" ]]; then
    DRIFT+=("chain differs$note")
  fi
  case ${#JUMPS[@]} in
    0) DRIFT+=("jump missing$note") ;;
    1) [[ -n $JUMP_IS_FIRST ]] || DRIFT+=("jump not first$note") ;;
    *) DRIFT+=("jump repeated$note") ;;
  esac
  for kind in exempt masquerade; do
    [[ ${FORM[$kind $family]} == list ]] || set_is_right "$kind" "$family" || DRIFT+=("set differs$note")
  done
}

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

# --- nft ---

nft_family() { if [[ $1 == 6 ]]; then REPLY=ip6; else REPLY=ip; fi; }

# The text of our table for family $1, in nft's own layout but for white space.
nft_render() {
  local kind
  nft_family "$1"
  CHAIN_TEXT="table $REPLY peermasq {"$'\n'
  for kind in exempt masquerade; do
    [[ ${FORM[$kind $1]} == list ]] || nft_set "$kind" "$1"
  done
  # Before the chain of iptables-nft (srcnat, 100): the first chain that rewrites the source wins.
  CHAIN_TEXT+=$'chain postrouting {\ntype nat hook postrouting priority 99; policy accept;\n'
  each_exemption nft_exemption "$1"
  each_masquerade_rule nft_masquerade "$1"
  CHAIN_TEXT+=$'}\n}\n'
}

nft_set() {
  local name=destinations elements
  [[ $1 == exempt ]] && name=exemptions
  outermost "$1" "$2"
  printf -v elements '%s, ' "${OUTERMOST[@]}"
  CHAIN_TEXT+="set $name {"$'\n'"type ipv$2_addr"$'\nflags interval\n'"elements = { ${elements%, } }"$'\n}\n'
}

# OUTERMOST: the ranges of kind $1 and family $2 that lie in no other, sorted: nft refuses overlaps, and merging
# them would print other text than was written.
outermost() {
  local i length='' hi=0 lo=0
  positions "$1" "$2"
  for i in $REPLY; do printf '%016x%016x %d %d\n' "${HIS[i]}" "${LOS[i]}" "${LENS[i]}" "$i"; done | sort >"$WORK/ranges"
  OUTERMOST=()
  while read -r _ _ i; do
    [[ -n $length ]] && ((hi == (HIS[i] & MASK_HI[length]) && lo == (LOS[i] & MASK_LO[length]))) && continue
    length=${LENS[i]} hi=${HIS[i]} lo=${LOS[i]}
    range_text "$i" && OUTERMOST+=("$REPLY")
  done <"$WORK/ranges"
}

nft_exemption() {
  local range=@exemptions
  [[ -n $2 ]] && range_text "$2" && range=$REPLY
  nft_family "$1"
  CHAIN_TEXT+="$REPLY daddr $range return comment \"peermasq: $3\""$'\n'
}

nft_masquerade() {
  local source='' range=@destinations
  [[ -n $2 ]] && range_text "$2" && source=$REPLY
  [[ -n $3 ]] && range_text "$3" && range=$REPLY
  nft_family "$1"
  CHAIN_TEXT+="${source:+$REPLY saddr $source }$REPLY daddr $range ${OUT:+oifname \"$OUT\" }fib daddr type != local"
  CHAIN_TEXT+=" counter masquerade${RANDOM_FULLY:+ fully-random} comment \"peermasq: $4\""$'\n'
}

# CHAIN: our table of family $1 as the kernel has it, one space between words and without counts. Fails if there is none.
nft_read() {
  local line counter='^(.*) counter packets ([0-9]+) bytes [0-9]+ (.*)$'
  CHAIN='' && nft_family "$1"
  has nft && nft list table "$REPLY" peermasq >"$WORK/table" 2>/dev/null || return 1
  while read -r line; do
    if [[ $line =~ $counter ]]; then
      PACKETS=$((PACKETS + BASH_REMATCH[2]))
      line="${BASH_REMATCH[1]} counter ${BASH_REMATCH[3]}"
    fi
    if [[ $line == *' comment "peermasq: '* ]]; then RULES=$((RULES + 1)); fi
    CHAIN+=${line/priority srcnat - 1/priority 99}$'\n'
  done <"$WORK/table"
  CHAIN=$(printf '%s' "$CHAIN" | tr -s '[:space:]' ' ')
}

nft_observe() {
  local family=$1 kind note=''
  [[ $family == 6 ]] && note=' (IPv6)'
  if ! nft_read "$family"; then
    ! concerns "$family" || DRIFT+=("table missing$note")
  elif ! concerns "$family"; then
    DRIFT+=("table not wanted$note")
  else
    nft_render "$family"
    [[ $CHAIN == "$(printf '%s' "$CHAIN_TEXT" | tr -s '[:space:]' ' ')" ]] || DRIFT+=("table differs$note")
  fi
}

# Both families in one transaction: nft applies it whole or not at all.
nft_change() {
  local family
  : >"$WORK/transaction"
  for family in 4 6; do
    if concerns "$family" || nft_read "$family"; then
      nft_family "$family"
      printf 'add table %s peermasq\ndelete table %s peermasq\n' "$REPLY" "$REPLY" >>"$WORK/transaction"
    fi
    ! concerns "$family" || { nft_render "$family" && printf '%s' "$CHAIN_TEXT" >>"$WORK/transaction"; }
  done
  nft -f "$WORK/transaction" >/dev/null 2>"$WORK/errors" && return
  FAULT="nft: $(head -n 1 "$WORK/errors")"
  return 3
}

# Adds the tables of nft that rewrite sources. Those of iptables-nft are read through iptables.
nft_masqueraders() {
  local line table='' chain=''
  has nft || return 0
  nft -t list ruleset >"$WORK/table" 2>/dev/null || return 0
  while read -r line; do
    case $line in
      'table '*) line=${line#table } && table=${line% \{} ;;
      'chain '*) line=${line#chain } && chain=${line% \{} ;;
      *masquerade* | *'snat to'* | *'snat ip'*)
        [[ $table == *' peermasq' || $table == ip*' nat' ]] || add_masquerader "nft: $table $chain"
        ;;
    esac
  done <"$WORK/table"
}

# --- Backends ---

readonly backends='iptables-nft iptables-legacy nft'

# Sets BACKEND. Fails with FAULT.
select_backend() {
  BACKEND=${PEERMASQ_BACKEND:-auto}
  case $BACKEND in
    auto) BACKEND='' && detect_backend && return ;;
    iptables) BACKEND='' && default_flavour && BACKEND=iptables-$REPLY && return ;;
    nft) has nft && return ;;
    *) iptables_command "$BACKEND" 4 -restore && return ;;
  esac
  FAULT="PEERMASQ_BACKEND=${PEERMASQ_BACKEND:-auto}, but it is not installed; there is: $(installed_backends)"
  BACKEND=''
  return 1
}

installed_backends() {
  local backend found=''
  for backend in $backends; do is_installed "$backend" && found+="$backend "; done
  printf '%s' "${found:-neither iptables nor nft}"
}

is_installed() { if [[ $1 == nft ]]; then has nft; else iptables_command "$1" 4 -restore; fi; }

# The backend of the node's kubelet: rules in the other one would be obeyed too, but in an order nobody can see.
detect_backend() {
  local backend best=0 count last
  for backend in iptables-nft iptables-legacy; do has_kubelet_hint "$backend" && BACKEND=$backend && return; done
  for backend in iptables-nft iptables-legacy; do
    count=$(foreign_rules "$backend")
    ((count > best)) && best=$count BACKEND=$backend
  done
  [[ -n $BACKEND ]] && return
  last=$(kept_backend) && is_installed "$last" && BACKEND=$last && return
  default_flavour && BACKEND=iptables-$REPLY && return
  for backend in $backends; do is_installed "$backend" && BACKEND=$backend && return; done
  return 1
}

# The chains that a kubelet leaves in table mangle so that others find its backend.
has_kubelet_hint() {
  local family text
  for family in 4 6; do
    iptables_save "$1" "$family" mangle || continue
    text=$(<"$WORK/table")
    [[ $text == *$'\n:KUBE-IPTABLES-HINT '* || $text == *$'\n:KUBE-KUBELET-CANARY '* ]] && return
  done
  return 1
}

foreign_rules() {
  local line count=0
  iptables_save "$1" 4 nat
  while IFS= read -r line; do [[ $line == *' -A '* && $line != *PEERMASQ* ]] && count=$((count + 1)); done <"$WORK/table"
  printf '%s' "$count"
}

kept_backend() {
  local pattern='"backend":"(iptables-nft|iptables-legacy|nft)"'
  [[ $(kept_status) =~ $pattern ]] && printf '%s' "${BASH_REMATCH[1]}"
}

# Reads the kernel back: sets DRIFT, RULES and PACKETS, adds to MASQUERADERS.
observe() {
  local family backend
  DRIFT=() RULES=0 PACKETS=0 MASQUERADERS=()
  choose_forms
  for family in 4 6; do "${BACKEND%-*}_observe" "$family"; done
  for backend in $backends; do
    [[ $backend == "$BACKEND" ]] || ! carries "$backend" || DRIFT+=("rules left in $backend")
  done
}

# Is anything of ours in a backend? Leaves RULES and PACKETS as they are.
carries() {
  local family rules=$RULES packets=$PACKETS found=1
  for family in 4 6; do
    if [[ $1 == nft ]]; then
      nft_read "$family" && found=0
    else
      iptables_read "$1" "$family" && [[ -n $HAS_CHAIN || ${#JUMPS[@]} -gt 0 ]] && found=0
    fi
  done
  RULES=$rules PACKETS=$packets
  return "$found"
}

# Takes ours away from a backend. Fails with 3 or 4 and FAULT.
withdraw() {
  local family
  for family in 4 6; do
    if [[ $1 == nft ]]; then
      nft_read "$family" || continue
      nft_family "$family"
      FAULT="nft: cannot delete table $REPLY peermasq" && nft delete table "$REPLY" peermasq 2>/dev/null || return 3
    else
      iptables_drop "$1" "$family" || return
    fi
  done
}

# Puts the rule set in force. Fails with 3 or 4 and FAULT; the previous rules are then in force.
change() {
  local code
  # Half a change and its way back are one step.
  trap '' TERM INT HUP
  choose_forms
  if [[ $BACKEND == nft ]]; then
    nft_change
    code=$?
  else
    iptables_change_with_sets
    code=$?
  fi
  trap - TERM INT HUP
  ((code == 0)) || sets_clear "$KEPT_ID"
  return "$code"
}

iptables_change_with_sets() {
  local code
  if uses_sets && sets_put; then
    iptables_change
    code=$?
    ((code == 3)) || return "$code"
  fi
  if uses_sets; then
    warn "no set can be used ($FAULT): the destinations are a list, which slows new connections"
    use_lists
  fi
  iptables_change
}

# --- Healing ---

# Removes the flows that hang because they began before the rules: a retransmitted SYN keeps the fate that
# its first packet was given. Sets HEALED.
heal() {
  local line family deadline=$((SECONDS + heal_seconds))
  has conntrack || { warn 'conntrack is not installed: connections that hang already go on hanging' && return; }
  for family in 4 6; do
    ((${COUNT[masquerade $family]:-0} > 0)) || continue
    conntrack -L -f "ipv$family" >"$WORK/flows" 2>/dev/null || continue
    while IFS= read -r line; do
      [[ $line == *'[UNREPLIED]'* ]] && hangs "$line" &&
        conntrack -D -p "$PROTOCOL" "${FLOW[@]}" >/dev/null 2>&1 && HEALED=$((HEALED + 1))
      ((SECONDS <= deadline)) || { warn "stopped healing after $HEALED flows, to be in time" && return; }
    done <"$WORK/flows"
  done
}

# Is the flow unanswered and un-NATed, and would the rules now masquerade it? If so: PROTOCOL, FLOW (its options
# for conntrack). A line of conntrack -L tells the flow as sent and then as answered.
hangs() {
  local source destination flow=${1#*src=}
  source=${flow%% *} flow=${flow#*dst=} destination=${flow%% *}
  [[ $flow == *'[UNREPLIED] '*" dst=$source "* ]] || return 1
  parse_address "$source" && is_source || return 1
  parse_address "$destination" && is_in masquerade && ! is_in exempt || return 1
  PROTOCOL=${1%% *} FLOW=(-s "$source" -d "$destination")
  [[ $flow =~ ^[^\ ]+\ sport=([0-9]+)\ dport=([0-9]+)\  ]] && FLOW+=(--sport "${BASH_REMATCH[1]}" --dport "${BASH_REMATCH[2]}")
  return 0
}

# --- Probes ---

# REPLY: a local address of family $1 that lies in a source. Without sources: '' for any.
pod_address() {
  local line hex previous=''
  REPLY=''
  [[ -n ${COUNT[source 4]:-}${COUNT[source 6]:-} ]] || return 0
  if [[ $1 == 4 ]]; then
    while read -r line; do
      [[ $line == '/32 host LOCAL' ]] && parse_address "$previous" && is_in source && REPLY=$previous && return
      previous=${line##* }
    done </proc/net/fib_trie
  elif [[ -r /proc/net/if_inet6 ]]; then
    while read -r hex _; do
      FAMILY=6 HI=$((16#${hex:0:8} << 32 | 16#${hex:8:8})) LO=$((16#${hex:16:8} << 32 | 16#${hex:24:8}))
      is_in source && print_ipv6 && return
    done </proc/net/if_inet6
  fi
  return 1
}

# Runs the probes side by side. Adds to PROBED, and sets REASON where one did not get through.
run_probes() {
  local i count=${#PROBES[@]} from reached missing=''
  ((count > 0)) || return 0
  has curl || { warn 'curl is not installed: probes are not run' && return; }
  ((count <= max_probes)) || count=$max_probes
  for ((i = 0; i < count; i++)); do
    probe_family "${PROBES[i]}"
    if pod_address "$REPLY"; then
      printf '%s' "$REPLY" >"$WORK/from.$i"
      connects "$REPLY" "${PROBES[i]}" "$WORK/reached.$i" 9>&- 8>&- &
    else
      missing=yes
    fi
  done
  [[ -z $missing ]] || warn 'no address of the pod range on this node: its probes are not run'
  wait
  for ((i = 0; i < count; i++)); do
    [[ -f $WORK/from.$i ]] || continue
    from=$(<"$WORK/from.$i") reached=$(<"$WORK/reached.$i")
    [[ $reached == true ]] || REASON="probe ${PROBES[i]} from ${from:-the node} did not get through"
    from=${from:+\"$from\"}
    PROBED+=("{\"to\":\"${PROBES[i]}\",\"from\":${from:-null},\"reached\":$reached}")
  done
}

probe_family() { if [[ $1 == \[* ]]; then REPLY=6; else REPLY=4; fi; }

# Connects by TCP from address $1 to $2 and writes true or false to file $3. No byte is sent where curl speaks
# telnet: its wrong option makes curl end after the connection is made, not before.
connects() {
  local time code url=telnet://$2 options=(--telnet-option NONE)
  [[ $(curl -V 2>/dev/null) == *' telnet'* ]] || url=http://$2 options=()
  set -- "$1" "$3" -g -s -o /dev/null -w '%{time_connect}' --noproxy '*' ${1:+--interface "$1"} \
    --connect-timeout "$probe_seconds" --max-time "$probe_seconds"
  time=$(curl -q "${@:3}" ${options[@]+"${options[@]}"} "$url" </dev/null 2>/dev/null)
  code=$?
  ((code != 49)) || is_time "$time" || time=$(curl -q "${@:3}" "$url" </dev/null 2>/dev/null)
  if is_time "$time"; then printf true; else printf false; fi >"$2"
}

is_time() { [[ $1 =~ [1-9] ]]; }

# --- Kept files and persistence ---

keep_text() { printf '%s\n' "$2" >"$DIR/.$1.new" && mv -f -- "$DIR/.$1.new" "$DIR/$1"; }

kept_status() { [[ ! -r $DIR/status ]] || printf '%s' "$(<"$DIR/status")"; }

keep_program() {
  [[ -n $PROGRAM ]] || return 1
  [[ $PROGRAM -ef $DIR/peermasq.sh ]] && return
  keep_file "$PROGRAM" "$DIR/peermasq.sh"
}

# Copies $1 to $2, so that a reader sees the old or the new file, whole.
keep_file() { cmp -s -- "$1" "$2" || { cp -- "$1" "$2.new" && mv -f -- "$2.new" "$2"; }; }

read_kept() {
  local line pattern='^generation ([0-9]{1,16})$'
  KEPT_ID='' KEPT_GENERATION=''
  [[ -f $DIR/ruleset ]] || return 0
  { read -r line && read -r line; } <"$DIR/ruleset"
  if [[ $line =~ $pattern ]] && ruleset_id "$DIR/ruleset"; then
    KEPT_ID=$REPLY KEPT_GENERATION=${BASH_REMATCH[1]}
  else
    warn 'the kept rule set is damaged: it counts as none'
  fi
  return 0
}

# The text of unit $1.
unit_text() {
  local variable wants='' section='Type=oneshot' command=repair
  case $1 in
    # Before the kubelet: the first pod finds the rules. After whatever loads or flushes tables at boot.
    peermasq.service) wants="ConditionPathExists=$DIR/ruleset
Before=kubelet.service
After=nftables.service iptables.service netfilter-persistent.service firewalld.service" ;;
    peermasq-watch.service) command=watch section=$'Restart=always\nRestartSec=5' ;;
  esac
  printf '# Written by peermasq; "peermasq.sh remove" takes it away.\n[Unit]\nDescription=peermasq: %s\n' "${1#peermasq-}"
  if [[ $1 == *.timer ]]; then
    printf '\n[Timer]\nOnActiveSec=60\nOnUnitInactiveSec=60\nAccuracySec=5\n\n[Install]\nWantedBy=timers.target\n'
    return
  fi
  printf 'Wants=network-online.target\nAfter=network-online.target\n%s\n\n[Service]\n%s\n' "$wants" "$section"
  printf 'ExecStart=%s %s/peermasq.sh %s\n' "$BASH" "$DIR" "$command"
  for variable in PEERMASQ_DIR PEERMASQ_BACKEND PEERMASQ_INTERVAL GCE_METADATA_HOST; do
    [[ ${!variable:-} =~ ^[A-Za-z0-9._/:-]+$ ]] && printf 'Environment=%s=%s\n' "$variable" "${!variable}"
  done
  [[ $1 == peermasq-repair.service ]] || printf '\n[Install]\nWantedBy=multi-user.target\n'
}

has_systemd() { [[ -d /run/systemd/system ]] && has systemctl; }

# Writes units $2... to folder $1. CHANGED tells whether one was not there like this.
write_units() {
  local folder=$1 unit
  shift
  CHANGED=''
  for unit; do
    unit_text "$unit" >"$WORK/unit"
    cmp -s "$WORK/unit" "$folder/$unit" && continue
    CHANGED=yes
    { keep_file "$WORK/unit" "$folder/$unit" && chmod 644 "$folder/$unit"; } 2>/dev/null || return 1
  done
}

# Enables the units where they changed, and starts what runs all the time: the timer and watch.
start_units() {
  local runtime=$1 unit
  shift
  [[ -z $CHANGED ]] || systemctl daemon-reload || return 1
  for unit; do
    [[ -z $CHANGED || $unit == peermasq-repair.service ]] || systemctl enable --quiet ${runtime:+"$runtime"} "$unit" || return 1
    [[ $unit == *.timer || $unit == *-watch.service ]] || continue
    if [[ -n $CHANGED ]] || ! systemctl is-active --quiet "$unit"; then systemctl restart "$unit" || return 1; fi
  done
}

# Installs and starts units in the first folder that takes them. Sets PERSISTED.
install_units() {
  local folder runtime='' unit
  PERSISTED=no
  for folder in $unit_folders; do write_units "$folder" "$@" && break; done
  [[ $folder != /run/* ]] || runtime=--runtime
  if start_units "$runtime" "$@" >&2 9>&- 8>&-; then
    PERSISTED=systemd
    [[ -z $runtime && $DIR != /run/* ]] || PERSISTED=runtime
  else
    # Units that look as if they were installed would not be tried again.
    for unit; do rm -f -- "$folder/$unit"; done
    warn 'systemd did not take the units: the rules are gone after a reboot, and drift is not repaired'
  fi
}

# Keeps the rules over a reboot and repairs them. Sets PERSISTED; never fails, because the rules are in force.
persist() {
  PERSISTED=no
  [[ ${PEERMASQ_PERSIST:-1} != 0 ]] || return 0
  has_systemd || { warn 'systemd does not run here: the rules are gone after a reboot, and drift is not repaired' && return; }
  if ! keep_program; then
    warn "the program did not come as a file that can be kept: the rules are gone after a reboot"
  elif has_watch_unit; then
    # It repairs drift itself.
    install_units peermasq.service
  else
    install_units peermasq.service peermasq-repair.service peermasq-repair.timer
  fi
}

has_watch_unit() {
  local folder
  for folder in $unit_folders; do [[ -f $folder/peermasq-watch.service ]] && return; done
  return 1
}

# Sets PERSISTED from what is installed.
read_persisted() {
  local folder
  PERSISTED=no
  for folder in $unit_folders; do
    [[ -f $folder/peermasq.service && -f $DIR/peermasq.sh ]] || continue
    PERSISTED=systemd
    [[ $folder == /run/* || $DIR == /run/* ]] && PERSISTED=runtime
    return 0
  done
}

# Takes the units away. Fails where there were none.
remove_units() {
  local folder unit found=1
  for folder in $unit_folders; do
    for unit in peermasq-watch.service peermasq-repair.timer peermasq-repair.service peermasq.service; do
      [[ -e $folder/$unit ]] || continue
      found=0
      ! has_systemd || systemctl disable --quiet --now "$unit" >&2 9>&-
      rm -f -- "$folder/$unit" || warn "cannot remove $folder/$unit"
    done
  done
  ((found != 0)) || ! has_systemd || systemctl daemon-reload >&2 9>&-
  return "$found"
}

# --- Commands ---

prepare() {
  local tool line=''
  DIR=${PEERMASQ_DIR:-/var/lib/peermasq} WAIT=${PEERMASQ_WAIT:-10} INTERVAL=${PEERMASQ_INTERVAL:-60}
  ((EUID == 0)) || fail 'must be run as root'
  [[ $DIR =~ ^(/[A-Za-z0-9._-]+)+$ && ! $DIR =~ /\.\.?(/|$) ]] || refuse 'PEERMASQ_DIR is not an absolute path of [A-Za-z0-9._-]'
  [[ $WAIT$INTERVAL =~ ^[0-9]{2,8}$ && $INTERVAL -gt 0 ]] || refuse 'PEERMASQ_WAIT or PEERMASQ_INTERVAL is not a number of seconds'
  case ${PEERMASQ_BACKEND:-auto} in
    auto | iptables | iptables-nft | iptables-legacy | nft) ;;
    *) refuse 'PEERMASQ_BACKEND is unknown; accepted are: auto, iptables, iptables-nft, iptables-legacy, nft' ;;
  esac
  for tool in flock sha256sum gzip base64 mktemp head tail tr wc sort cmp cp mv; do
    has "$tool" || fail "$tool is missing; install the package that brings it (flock: util-linux, cmp: diffutils)"
  done
  WORK=$(mktemp -d) || fail 'cannot make a temporary folder'
  trap end EXIT
  [[ -f $0 ]] && { read -r line && read -r line; } <"$0" && [[ $line == "$marker" ]] && PROGRAM=$0
}

# What lies in the folder is run as root at boot, so nobody else may write there.
make_folder() {
  { mkdir -p -- "$DIR" && : >>"$DIR/lock"; } 2>/dev/null || fail "cannot write to $DIR; set PEERMASQ_DIR to a folder that can be written"
  [[ -O $DIR && $(stat -c %A -- "$DIR") == d????-??-? ]] || refuse "$DIR belongs to or can be written by others than root"
}

# Takes the lock, or ends as busy. remove deletes the file, so the lock must be on the one that is there.
lock() {
  local deadline=$((SECONDS + WAIT))
  while :; do
    make_folder
    exec 9>>"$DIR/lock"
    flock -w $((deadline > SECONDS ? deadline - SECONDS : 0)) 9 ||
      { read_kept && busy "another peermasq holds $DIR/lock for more than $WAIT s"; }
    [[ $DIR/lock -ef /proc/self/fd/9 ]] && return
  done
}

command_apply() {
  local file=-
  case $#:${1:-} in 0:) ;; 2:--file) file=$2 ;; *) usage >&2 && exit 2 ;; esac
  prepare
  load "$file" || { read_kept && refuse "$FAULT"; }
  lock
  read_kept
  refuse_stale
  cp -- "$WORK/ruleset" "$DIR/.ruleset.new" || fail "cannot write to $DIR"
  converge apply
}

refuse_stale() {
  [[ -n $KEPT_ID ]] || return 0
  ((GENERATION >= KEPT_GENERATION)) || refuse "generation $GENERATION is older than $KEPT_GENERATION, which is in force"
  [[ $GENERATION -gt $KEPT_GENERATION || $ID == "$KEPT_ID" ]] ||
    refuse "generation $GENERATION is in force with another content; accepted is a newer generation"
}

command_repair() {
  prepare
  lock
  load_kept || finish 0 unchanged "$FAULT"
  converge repair
}

# Loads the kept rule set. Fails, with FAULT, where there is none.
load_kept() {
  read_kept
  FAULT='no rule set has been applied here' && [[ -n $KEPT_ID ]] || return 1
  load "$DIR/ruleset" || fail "the kept rule set is damaged: $FAULT"
}

# Brings the kernel to the rule set that is loaded, and reports.
converge() {
  local code was_proven=''
  [[ $(kept_status) == *'"proven":true'* ]] && was_proven=yes
  select_backend || fail "$FAULT"
  observe
  RESULT=unchanged
  if [[ $ID != "$KEPT_ID" || ${#DRIFT[@]} -gt 0 ]]; then
    RESULT=applied
    change
    code=$?
    ((code == 0)) || rm -f -- "$DIR/.ruleset.new"
    case $code in 0) ;; 4) busy "$FAULT" ;; *) fail "$FAULT" ;; esac
    tidy
  fi
  [[ $1 == repair ]] || mv -f -- "$DIR/.ruleset.new" "$DIR/ruleset" || warn "cannot write to $DIR: the rule set is not kept"
  KEPT_ID=$ID KEPT_GENERATION=$GENERATION
  if [[ $1 == apply || $RESULT == applied ]]; then
    heal
    persist
    run_probes
  else
    read_persisted
    [[ -n $was_proven ]] || run_probes
  fi
  prove
  finish 0 "$RESULT"
}

# After a change: reads back and, once the new rules are seen, takes away what served the old ones.
tidy() {
  local backend line
  observe
  for line in ${DRIFT[@]+"${DRIFT[@]}"}; do [[ $line == 'rules left in '* ]] || return; done
  for backend in $backends; do
    [[ $backend == "$BACKEND" ]] || ! carries "$backend" || withdraw "$backend" || warn "$FAULT"
  done
  ((${#DRIFT[@]} == 0)) || observe
  if [[ $BACKEND != nft ]] && uses_sets; then sets_clear "$ID"; else sets_clear ''; fi
}

prove() {
  local drift
  if ((${#DRIFT[@]} > 0)); then
    printf -v drift ', %s' "${DRIFT[@]}"
    REASON="the kernel does not show what was meant: ${drift:2}"
  fi
  [[ -n $REASON ]] || PROVEN=true
}

command_status() {
  prepare
  RESULT=status
  if load_kept && { select_backend || fail "$FAULT"; }; then
    observe
    [[ $(kept_status) != *'"reached":false'* ]] || REASON='a probe did not get through when it was last run'
    prove
  fi
  find_masqueraders
  read_persisted
  print_report
}

find_masqueraders() {
  local backend family rules=$RULES packets=$PACKETS
  for backend in iptables-nft iptables-legacy; do
    for family in 4 6; do iptables_read "$backend" "$family"; done
  done
  nft_masqueraders
  RULES=$rules PACKETS=$packets
}

command_probe() {
  prepare
  load_kept || finish 0 probed "$FAULT"
  select_backend || fail "$FAULT"
  observe
  read_persisted
  run_probes
  prove
  finish 0 probed
}

command_remove() {
  local backend file found=''
  prepare
  lock
  read_kept
  for backend in $backends; do
    carries "$backend" || continue
    found=yes
    withdraw "$backend" || { (($? == 4)) && busy "$FAULT"; } || fail "$FAULT"
  done
  sets_clear ''
  remove_units && found=yes
  end_watch && found=yes
  for file in ruleset status peermasq.sh look watch.log watch.lock; do
    [[ ! -e $DIR/$file ]] || { rm -f -- "$DIR/$file" && found=yes; }
  done
  rm -f -- "$DIR/.ruleset.new" "$DIR/.status.new" "$DIR/peermasq.sh.new" "$DIR/look.new" "$DIR/lock"
  rmdir -- "$DIR" 2>/dev/null
  KEPT_ID='' KEPT_GENERATION='' RULES=0
  if [[ -n $found ]]; then finish 0 removed; else finish 0 unchanged; fi
}

# Ends the watch that runs without systemd. Fails where none runs.
end_watch() {
  local pid
  [[ -f $DIR/watch.lock ]] && exec 8<>"$DIR/watch.lock" && ! flock -n 8 || return 1
  read -r pid <&8 && [[ $pid =~ ^[1-9][0-9]*$ ]] && kill -TERM "$pid"
}

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

# --- watch ---

readonly metadata_header='Metadata-Flavor: Google'
# In intervals. Every glance at the rules costs a few processes, and one in so many looks at everything.
readonly whole_look=10
CHILD='' ETAG='' HTTP='' TROUBLE='' STATUS='' REFUSAL='' SENT='' CHECKED=0
# What an earlier watch answered may still be there.
ANSWERED=unknown ASKED='' TRIES=0
IS_PROGRAM_DUE='' REFUSED_PROGRAM='' GLANCE='' SEEN='' GLANCES=0

command_watch() {
  case $#:${1:-} in 0:) ;; 1:--install) prepare && install_watch && FINISHED=yes && return ;; *) usage >&2 && exit 2 ;; esac
  prepare
  [[ -n $PROGRAM ]] || fail 'watch needs the program as a file: bash peermasq.sh watch'
  has curl || fail 'watch needs curl'
  [[ ${GCE_METADATA_HOST:-x} =~ ^[A-Za-z0-9.:-]+$ ]] || refuse 'GCE_METADATA_HOST is not a host'
  METADATA=http://${GCE_METADATA_HOST:-169.254.169.254}/computeMetadata/v1/instance
  make_folder
  exec 8<>"$DIR/watch.lock"
  flock -n 8 || busy "another watch runs with $DIR"
  printf '%s\n' "$$" >"$DIR/watch.lock"
  trap '[[ -z $CHILD ]] || kill "$CHILD" 2>/dev/null; exit 0' TERM INT
  FINISHED=yes
  : >"$WORK/began"
  PROGRAM_SUM=$(sha256sum <"$PROGRAM")
  follow
}

# One look at the metadata after the other, for ever. Trouble is tried again at once, then ever more slowly.
follow() {
  local backoff=1 began
  while :; do
    began=$SECONDS TROUBLE=''
    follow_metadata
    follow_program
    check_drift
    send_status
    if [[ -n $TROUBLE ]]; then
      pause "$backoff"
      backoff=$((backoff * 2 > 16 ? 16 : backoff * 2))
    else
      backoff=1
      # A server that answers at once although nothing changed must not be asked in a busy loop.
      ((SECONDS > began)) || pause 1
    fi
  done
}

# Runs a command so that TERM ends it at once.
interruptible() {
  "$@" 8>&- &
  CHILD=$!
  wait "$CHILD"
  local code=$?
  CHILD=''
  return "$code"
}

# Sleeps $1 seconds and up to half as much again, so that the nodes of a cluster spread out.
pause() { interruptible sleep "$1.$((RANDOM % 5))"; }

# Asks the metadata server for path $1. Sets HTTP; the body is in $WORK/body, the header in $WORK/header.
ask() {
  local path=$1 seconds=$2
  shift 2
  : >"$WORK/body"
  : >"$WORK/header"
  interruptible curl -q -s --noproxy '*' --connect-timeout 5 --max-time "$seconds" -H "$metadata_header" -D "$WORK/header" \
    -o "$WORK/body" -w '%{http_code}' "$@" "$METADATA/$path" >"$WORK/code"
  read -r HTTP <"$WORK/code"
}

# Waits for a change of the metadata, and follows it. The list stands for every key in it, so one request waits also
# for what is not there yet. The guest agent of every VM waits like this for still more.
follow_metadata() {
  local query='' before=$ETAG
  [[ -z $ETAG ]] || query="&wait_for_change=true&last_etag=$ETAG&timeout_sec=$INTERVAL"
  ask "attributes/?recursive=true$query" $((INTERVAL + 10))
  read_etag
  [[ $HTTP == 200 && -n $ETAG ]] || { metadata_failed && return; }
  [[ $ETAG != "$before" ]] || return 0
  # Before the keys are read: what changes meanwhile changes the list again.
  IS_PROGRAM_DUE=yes
  follow_ruleset
  follow_look
}

# What could not be read is asked for again, and not waited for.
metadata_failed() { ETAG='' TROUBLE="the metadata server answers ${HTTP:-nothing}" && say "$TROUBLE"; }

# Applies the rule set in the metadata when it is another one than last time.
follow_ruleset() {
  ask attributes/peermasq-ruleset 10
  case $HTTP in
    200) ;;
    404) return ;;
    *) metadata_failed && return ;;
  esac
  ! cmp -s "$WORK/body" "$WORK/applied" || return 0
  run_self apply --file "$WORK/body"
  case $? in
    0 | 2) mv -f "$WORK/body" "$WORK/applied" ;;
    *) ETAG='' TROUBLE='the rule set could not be applied' ;;
  esac
  CHECKED=$SECONDS SEEN='' STATUS=$(<"$WORK/report")
  # Repairs of the rules in force must not hide that these were not taken.
  case $STATUS in '{"result":"applied"'* | '{"result":"unchanged"'*) REFUSAL='' ;; *) REFUSAL=$STATUS ;; esac
}

# Answers who asks for a look, once; what was answered is taken away when nobody asks any more.
follow_look() {
  local nonce
  ask attributes/peermasq-look 10
  case $HTTP in
    200) read -r nonce <"$WORK/body" || [[ -n $nonce ]] || return 0 ;;
    404) clear_look && return ;;
    *) metadata_failed && return ;;
  esac
  [[ $nonce != "$ANSWERED" && $nonce =~ ^[0-9a-f]{32}$ ]] || return 0
  [[ $nonce == "$ASKED" ]] || ASKED=$nonce TRIES=0
  # Parts of an answer may be there from here on.
  ANSWERED=unknown
  answer_look "$nonce" && ANSWERED=$nonce && return
  say 'a look could not be answered'
  # Whoever asked waits some 45 seconds.
  ((++TRIES < 5)) && ETAG='' TROUBLE='a look could not be answered' || ANSWERED=$nonce
}

# In guest attributes of a namespace of its own, so that whoever reads the status does not read them too.
answer_look() {
  local part count=1
  for ((part = 0; part < count; part++)); do
    run_self look --part "$part" && read -r _ _ _ count _ <"$WORK/report" || return
    { printf '%s ' "$1" && cat "$WORK/report"; } >"$WORK/look"
    ask "guest-attributes/peermasq-look/$part" 10 -X PUT --data-binary "@$WORK/look"
    [[ $HTTP == 2?? ]] || return
  done
}

clear_look() {
  local part
  [[ -n $ANSWERED ]] || return 0
  for ((part = 0; part < max_parts; part++)); do
    ask "guest-attributes/peermasq-look/$part" 10 -X DELETE
    case $HTTP in
      2??) ;;
      5?? | 000 | '') metadata_failed && return ;;
      *) break ;;
    esac
  done
  ANSWERED=''
}

read_etag() {
  local line
  ETAG=''
  while read -r line; do
    [[ $line =~ ^[Ee][Tt][Aa][Gg]:\ *\"?([A-Za-z0-9_-]+)\"?[[:space:]]*$ ]] && ETAG=${BASH_REMATCH[1]}
  done <"$WORK/header"
}

# Each command runs in a process of its own; its report is in $WORK/report.
run_self() { interruptible "$BASH" "$PROGRAM" "$@" >"$WORK/report"; }

# Repairs drift between changes. A glance that found nothing new is not worth a write, and must not hide that the
# last rule set was refused.
check_drift() {
  local report now was=${STATUS#*'"proven":'}
  ((SECONDS - CHECKED >= INTERVAL)) || return 0
  CHECKED=$SECONDS GLANCES=$((GLANCES + 1))
  glance
  [[ -z $SEEN || $GLANCE != "$SEEN" || $GLANCES -ge $whole_look ]] || return 0
  run_self repair || TROUBLE='repair failed'
  report=$(<"$WORK/report")
  now=${report#*'"proven":'}
  case $report:$STATUS in
    '{"result":"failed"'*) STATUS=$report ;;
    '{"result":"unchanged"'*:'{"result":"failed"'*) STATUS=${REFUSAL:-$report} ;;
    '{"result":"unchanged"'*) [[ -n $REFUSAL || ${now%%,*} == "${was%%,*}" ]] || STATUS=$report ;;
    *) STATUS=${REFUSAL:-$report} ;;
  esac
  [[ $report != *'"id":null'* || -n $REFUSAL ]] || forget_applied
  remember_glance
}

# What was kept is gone: it is asked for and applied anew.
forget_applied() { rm -f -- "$WORK/applied" && ETAG=''; }

# After a repair that proved the rules: what they look like.
remember_glance() {
  local pattern='"backend":"(iptables-nft|iptables-legacy|nft)"'
  SEEN='' GLANCES=0
  [[ $report == *'"proven":true'* && $report =~ $pattern ]] && BACKEND=${BASH_REMATCH[1]} && glance && SEEN=$GLANCE
}

# GLANCE: the kernel's own text of what is ours and of the chain that leads there, in few and small processes. Only
# good to be compared with another one. '' where it cannot be had.
glance() {
  local family text
  : >"$WORK/glance"
  GLANCE=''
  for family in 4 6; do
    case $BACKEND in
      '') return ;;
      nft) nft_family "$family" && nft -s list table "$REPLY" peermasq ;;
      *) iptables_command "$BACKEND" "$family" '' && "$REPLY" -w "$WAIT" -t nat -S POSTROUTING && "$REPLY" -w "$WAIT" -t nat -S PEERMASQ ;;
    esac >>"$WORK/glance" 2>/dev/null
  done
  read -r -d '' GLANCE <"$WORK/glance"
  [[ $GLANCE != *' --match-set '* ]] || GLANCE+=$(ipset save 2>/dev/null | grep -F ' peermasq-')
}

# Puts the last report where the functions read it. Sets TROUBLE when that is worth another try soon.
send_status() {
  [[ $STATUS != "$SENT" ]] || return 0
  printf '%s' "$STATUS" >"$WORK/status"
  ask guest-attributes/peermasq/status 10 -X PUT --data-binary "@$WORK/status"
  case $HTTP in
    2??) SENT=$STATUS ;;
    4?[^9]) say "guest attributes are not writable (HTTP $HTTP); is enable-guest-attributes set?" ;;
    *) TROUBLE="the status could not be written (HTTP ${HTTP:-none})" && say "$TROUBLE" ;;
  esac
}

# Goes on as the program in the metadata, or as the one that was installed meanwhile.
follow_program() {
  take_program || is_installed_anew || return 0
  say 'goes on as another version of the program'
  rm -rf -- "$WORK"
  exec "$BASH" "$DIR/peermasq.sh" watch
}

# Installs the program in the metadata when they changed. Fails where it is the one that runs, or none.
take_program() {
  local sum
  [[ -n $IS_PROGRAM_DUE ]] || return 1
  IS_PROGRAM_DUE=''
  ask attributes/peermasq-program 10
  [[ $HTTP == [24]?? ]] || { metadata_failed && return 1; }
  [[ $HTTP == 200 ]] && unpack_program && sum=$(sha256sum <"$WORK/program") || return 1
  [[ $sum != "$PROGRAM_SUM" && $sum != "$REFUSED_PROGRAM" ]] || return 1
  REFUSED_PROGRAM=$sum
  is_program "$WORK/program" && keep_file "$WORK/program" "$DIR/peermasq.sh"
}

is_installed_anew() {
  [[ $DIR/peermasq.sh -nt $WORK/began ]] || return 1
  : >"$WORK/began"
  [[ $(sha256sum <"$DIR/peermasq.sh") != "$PROGRAM_SUM" ]]
}

unpack_program() { unpack "$WORK/body" "$WORK/program" || { say "peermasq-program: $FAULT" && return 1; }; }

# Is file $1 the node program, whole and well-formed? The last line is what makes it do anything.
is_program() {
  local last='main "$@"'
  [[ $(head -n 2 "$1") == '#!/usr/bin/env bash'$'\n'"$marker" && $(tail -n 1 "$1") == "$last" ]] && "$BASH" -n "$1" 2>/dev/null && return
  say 'peermasq-program is refused: it is not the node program, or cut off'
  return 1
}

# Has watch run from now on: by systemd, or else in the background until the next boot.
install_watch() {
  make_folder
  keep_program || fail 'watch --install needs the program as a file: bash peermasq.sh watch --install'
  if has_systemd && [[ ${PEERMASQ_PERSIST:-1} != 0 ]]; then
    install_units peermasq-watch.service
    [[ $PERSISTED == no ]] || return 0
  fi
  setsid "$BASH" "$DIR/peermasq.sh" watch </dev/null >>"$DIR/watch.log" 2>&1 &
}

main() {
  local command=${1:-help}
  case $command in
    apply | status | repair | probe | remove | watch | look) shift && "command_$command" "$@" ;;
    help | -h | --help) usage ;;
    *) usage >&2 && exit 2 ;;
  esac
}

main "$@"
