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

