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
  ask attributes/peermasq-snapshot 10
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
    ask "guest-attributes/peermasq-snapshot/$part" 10 -X PUT --data-binary "@$WORK/look"
    [[ $HTTP == 2?? ]] || return
  done
}

clear_look() {
  local part
  [[ -n $ANSWERED ]] || return 0
  for ((part = 0; part < max_parts; part++)); do
    ask "guest-attributes/peermasq-snapshot/$part" 10 -X DELETE
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

