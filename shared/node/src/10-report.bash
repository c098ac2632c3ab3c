# --- Log, errors, report ---

# <message>
log() { printf 'peermasq: %s\n' "$*" >&2; }

# <message>
warn() {
  WARNINGS+=("$1")
  log "$1"
}

# <message>: sets ERROR, which no other function sets. Always fails, so that a check can end with this call.
error() {
  ERROR=$1
  return 1
}

# <context>: sets ERROR to the context, followed by the first line that the last command started by `run` wrote to
# stderr. If that line contains only the name and version of iptables-nft-restore, the last line is used instead.
command_error() {
  local line='' lines=()
  mapfile -t lines <"$WORK/errors"
  line=${lines[0]:-}
  if [[ $line == *'(nf_tables): ' ]]; then line=${lines[-1]}; fi
  error "$1: $line"
}

# The file for the stdout of the next command of `run`.
OUTPUT=/dev/null

# <command> [<argument>...]: runs a command that changes the kernel's state, and logs it. Its stderr goes to
# $WORK/errors.
run() {
  log "run: $*"
  forget_kernel
  "$@" >"$OUTPUT" 2>"$WORK/errors"
}

# The lines of the text that was split last.
LINES_OF_TEXT=()

# <text>: sets LINES_OF_TEXT to the lines of the text that are not empty. `read` would read a text from a pipe byte by byte.
split_lines() {
  local IFS=$'\n'
  # shellcheck disable=SC2206 # split on purpose; set -f keeps the words as they are
  LINES_OF_TEXT=($1)
}

# <text> <max>: REPLY is the text, truncated to <max> characters. Every character that is not printable ASCII is
# replaced with "?".
shorten() {
  REPLY=${1//[^ -~]/?}
  if ((${#REPLY} > $2)); then REPLY=${REPLY:0:$2-3}...; fi
}

# <text> <max>: REPLY is the text as a JSON string, truncated to <max> characters.
json_string() {
  shorten "$1" "$2"
  REPLY=${REPLY//\\/\\\\}
  REPLY="\"${REPLY//\"/\\\"}\""
}

# <max> [<item>...]: REPLY is a JSON list of at most <max> characters. If some items do not fit, the last entry is their
# number. The limit exists because a report has to fit in 2,000 bytes.
json_list() {
  local max=$1 list='' item=''
  shift
  while (($# > 0)); do
    item=$1
    if [[ $item != '{'* ]]; then
      json_string "$item" 160
      item=$REPLY
    fi
    ((${#list} + ${#item} <= max)) || break
    list+=${list:+,}$item
    shift
  done
  if (($# > 0)) && [[ $item != '{'* ]]; then list+="${list:+,}\"and $# more\""; fi
  REPLY="[$list]"
}

# <key> <text> <quote>: appends a field to the caller's `report`. The value is null if the text is empty.
add_field() {
  if [[ -n $2 ]]; then report+=",\"$1\":$3$2$3"; else report+=",\"$1\":null"; fi
}

# REPLY: the time at which process 1 of this node started, in seconds since the epoch. Fails if the time is unknown.
boot_time() {
  local line key value
  { read -r line </proc/1/stat; } 2>/dev/null || return 1
  # Skips the program name, which is in parentheses and may contain any character, even a parenthesis.
  # shellcheck disable=SC2086 # split on purpose
  set -- ${line##*) }
  while read -r key value _; do
    if [[ $key == btime ]]; then
      # /proc/1/stat contains the start time in hundredths of a second.
      REPLY=$((value + ${20} / 100))
      return 0
    fi
  done </proc/stat
  return 1
}

# REPLY: the report. Programs that read it expect the verdict first, then the fields of the rule set in force.
render_report() {
  local limit report="{\"result\":\"$RESULT\",\"proven\":$PROVEN"
  add_field id "$STORED_ID" '"'
  # Shows the sender that this report is about the sent rule set, even if another rule set is in force.
  if [[ -n $ID && $ID != "$STORED_ID" ]]; then add_field offered "$ID" '"'; fi
  add_field generation "$STORED_GENERATION" ''
  add_field backend "$BACKEND" '"'
  if boot_time; then add_field booted "$REPLY" ''; fi
  report+=",\"format\":$max_format"
  program_id
  if [[ -n $REPLY ]]; then add_field program "$REPLY" '"'; fi
  if [[ -n $CODE ]]; then add_field code "$CODE" '"'; fi
  if [[ -n $REASON ]]; then
    json_string "$REASON" 240
    add_field reason "$REPLY" ''
  fi
  if [[ $RESULT == status ]]; then
    json_list 240 ${DRIFT[@]+"${DRIFT[@]}"}
    report+=",\"drift\":$REPLY,\"rules\":$RULES,\"packets\":$PACKETS,\"persisted\":\"$PERSISTED\""
  else
    report+=",\"rules\":$RULES,\"flushed\":$FLUSHED,\"persisted\":\"$PERSISTED\""
    json_list 300 ${PROBED[@]+"${PROBED[@]}"}
    report+=",\"probes\":$REPLY"
  fi
  if [[ -n $PATHS_READ ]]; then
    if [[ -n ${STEERED[4]}${STEERED[6]} ]]; then report+=',"steered":true'; fi
    json_list 100 ${BASIS[@]+"${BASIS[@]}"}
    report+=",\"basis\":$REPLY"
    json_list 280 ${PATHS[@]+"${PATHS[@]}"}
    report+=",\"paths\":$REPLY"
  fi
  if ((${#PORTS[@]} > 0)); then
    json_list 230 "${PORTS[@]}"
    report+=",\"ports\":$REPLY"
  fi
  if [[ $RESULT == status ]]; then
    limit=$((1700 - ${#report}))
    json_list $((limit < 480 ? limit : 480)) ${MASQUERADERS[@]+"${MASQUERADERS[@]}"}
    report+=",\"masqueraders\":$REPLY"
  fi
  json_list $((1980 - ${#report} < 480 ? 1980 - ${#report} : 480)) ${WARNINGS[@]+"${WARNINGS[@]}"}
  REPLY="$report,\"warnings\":$REPLY}"
}

PROGRAM_ID=''

# REPLY: the first 12 digits of this program's sha256 hash, or empty if the program was not run from a file.
program_id() {
  if [[ -n $PROGRAM && -z $PROGRAM_ID ]]; then
    PROGRAM_ID=$(exec sha256sum <"$PROGRAM")
    PROGRAM_ID=${PROGRAM_ID:0:12}
  fi
  REPLY=$PROGRAM_ID
}

# Prints the report. REPLY: the text of the report.
print_report() {
  render_report
  FINISHED=yes
  printf '%s\n' "$REPLY"
}

# <exit code> <result> [<reason>]: prints the report and exits. A report about the rules in force is also stored.
finish() {
  RESULT=$2 REASON=${3:-$REASON}
  if [[ -n $REASON ]]; then log "$RESULT: $REASON"; fi
  print_report
  case $RESULT in
    applied | unchanged | failed)
      if [[ -n $STORED_ID ]]; then store_text status "$REPLY"; fi
      ;;
  esac
  exit "$1"
}

refuse() { finish 2 refused "$1"; }
fail() { finish 3 failed "$1"; }
busy() { finish 4 busy "$1"; }

# Prints a report no matter how the program exits, even after a signal or a bug.
on_exit() {
  local code=$?
  remove_work
  if [[ -z $FINISHED ]]; then
    RESULT=failed PROVEN=false REASON="exited early with code $code"
    print_report
    exit 3
  fi
}
