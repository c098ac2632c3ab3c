# --- watch: metadata and guest attributes of a GCE instance ---

readonly metadata_header='Metadata-Flavor: Google'
# The version of the metadata that was read last. If it is empty, the metadata is read again without waiting for a
# change.
ETAG=''
# The nonce of the last snapshot request, the number of attempts to answer it, and the nonce of the last request that
# was answered ("unknown", because an earlier watch process may have left an answer).
REQUESTED='' TRIES=0 ANSWERED=unknown
METADATA='' PROGRAM_SUM='' REJECTED_PROGRAM=''

# <path> <seconds> [<curl option>...]: sends a request. REPLY is the HTTP status. The body is in $WORK/body, the
# headers are in $WORK/header.
request() {
  local path=$1 seconds=$2 code=''
  shift 2
  : >"$WORK/body"
  : >"$WORK/header"
  interruptible curl -q -s --noproxy '*' --connect-timeout 5 --max-time "$seconds" -H "$metadata_header" \
    -D "$WORK/header" -o "$WORK/body" -w '%{http_code}' "$@" "$METADATA/$path" >"$WORK/code"
  read -r code <"$WORK/code"
  REPLY=$code
}

# <HTTP status>: schedules a full re-read of the metadata, without waiting for a change.
retry_metadata() {
  ETAG='' RETRY_REASON="metadata server: HTTP ${1:-none}"
  log "$RETRY_REASON"
}

# Waits for a change to the metadata, and then handles it. The requested list contains every key, so one request also
# waits for keys that do not exist yet. The guest agent of every VM waits for changes in the same way, on even more
# keys.
follow_metadata() {
  local query='' code before=$ETAG
  if [[ -n $ETAG ]]; then query="&wait_for_change=true&last_etag=$ETAG&timeout_sec=$INTERVAL"; fi
  request "attributes/?recursive=true$query" $((INTERVAL + 10))
  code=$REPLY
  read_etag
  ETAG=$REPLY
  if [[ $code != 200 || -z $ETAG ]]; then
    retry_metadata "$code"
    return
  fi
  [[ $ETAG != "$before" ]] || return 0
  # The single keys are read after the list. If one changes in between, the list has a new ETag, and everything is read
  # again. The program is read first, because the running program may be too old for the rule set's format.
  take_program
  case $? in
    0) restart_watch ;;
    2) return ;;
  esac
  follow_ruleset
  follow_snapshot_request
}

# REPLY: the ETag of the last response, or empty if there is none.
read_etag() {
  local line etag=''
  while read -r line; do
    if [[ $line =~ ^[Ee][Tt][Aa][Gg]:\ *\"?([A-Za-z0-9_-]+)\"?[[:space:]]*$ ]]; then etag=${BASH_REMATCH[1]}; fi
  done <"$WORK/header"
  REPLY=$etag
}

# Applies the rule set in the metadata if it has changed.
follow_ruleset() {
  local code
  request attributes/peermasq-ruleset 10
  code=$REPLY
  case $code in
    200) ;;
    404) return ;;
    *)
      retry_metadata "$code"
      return
      ;;
  esac
  same_text "$WORK/body" "$WORK/applied" && return
  run_self apply --file "$WORK/body"
  case $? in
    0 | 2) mv -f "$WORK/body" "$WORK/applied" ;;
    *) ETAG='' RETRY_REASON='the rule set could not be applied' ;;
  esac
  CHECKED_AT=$SECONDS STATUS=$(<"$WORK/report")
  # A later repair of the rules in force must not hide the refusal of this rule set.
  case $STATUS in
    '{"result":"applied"'* | '{"result":"unchanged"'*) REFUSAL='' ;;
    *) REFUSAL=$STATUS ;;
  esac
}

# Makes watch read the rule set from the metadata again and apply it, because the stored rule set is gone.
forget_applied() {
  rm -f -- "$WORK/applied"
  ETAG=''
}

# Answers each snapshot request once, and deletes the answer when the request is gone.
follow_snapshot_request() {
  local code nonce=''
  request attributes/peermasq-snapshot 10
  code=$REPLY
  case $code in
    200) read -r nonce <"$WORK/body" ;;
    404)
      delete_snapshot
      return
      ;;
    *)
      retry_metadata "$code"
      return
      ;;
  esac
  [[ $nonce != "$ANSWERED" && $nonce =~ ^[0-9a-f]{32}$ ]] || return 0
  if [[ $nonce != "$REQUESTED" ]]; then REQUESTED=$nonce TRIES=0; fi
  # From here on, an incomplete answer may be in the guest attributes.
  ANSWERED=unknown
  if send_snapshot "$nonce"; then
    ANSWERED=$nonce
    return
  fi
  log 'cannot send the snapshot'
  # There are several attempts, because the reader waits for about 45 seconds.
  TRIES=$((TRIES + 1))
  if ((TRIES < 5)); then ETAG='' RETRY_REASON='cannot send the snapshot'; else ANSWERED=$nonce; fi
}

# <nonce>: writes the snapshot to guest attributes under a separate path, so that readers of the status do not load it.
send_snapshot() {
  local part count=1
  for ((part = 0; part < count; part++)); do
    run_self snapshot --part "$part" || return 1
    read -r _ _ _ count _ <"$WORK/report" || return 1
    { printf '%s ' "$1"; cat "$WORK/report"; } >"$WORK/part"
    request "guest-attributes/peermasq-snapshot/$part" 10 -X PUT --data-binary "@$WORK/part"
    [[ $REPLY == 2?? ]] || return 1
  done
}

delete_snapshot() {
  local part code
  [[ -n $ANSWERED ]] || return 0
  for ((part = 0; part < max_parts; part++)); do
    request "guest-attributes/peermasq-snapshot/$part" 10 -X DELETE
    code=$REPLY
    case $code in
      2??) ;;
      5?? | 000 | '')
        retry_metadata "$code"
        return
        ;;
      *) break ;;
    esac
  done
  ANSWERED=''
}

# Writes the last report to the guest attribute that the functions read.
send_status() {
  local code
  [[ $STATUS != "$SENT" ]] || return 0
  printf '%s' "$STATUS" >"$WORK/status"
  request guest-attributes/peermasq/status 10 -X PUT --data-binary "@$WORK/status"
  code=$REPLY
  case $code in
    2??) SENT=$STATUS ;;
    4?[^9]) log "guest attributes are not writable (HTTP $code); is enable-guest-attributes set?" ;;
    *)
      RETRY_REASON="cannot write the status (HTTP ${code:-none})"
      log "$RETRY_REASON"
      ;;
  esac
}

# Replaces this process with the program that is now installed.
restart_watch() {
  log 'restarting as another version of the program'
  rm -rf -- "$WORK"
  exec "$BASH" "$DIR/peermasq.sh" watch
}

# Installs the program in the metadata. Fails with code 1 if there is no usable program or if it is already running, and
# with code 2 if the metadata cannot be read now.
take_program() {
  local code sum
  request attributes/peermasq-program 10
  code=$REPLY
  if [[ $code != [24]?? ]]; then
    retry_metadata "$code"
    return 2
  fi
  [[ $code == 200 ]] || return 1
  if ! unpack "$WORK/body" "$WORK/program"; then
    log "peermasq-program: $ERROR"
    return 1
  fi
  sum=$(sha256sum <"$WORK/program")
  [[ $sum != "$PROGRAM_SUM" && $sum != "$REJECTED_PROGRAM" ]] || return 1
  REJECTED_PROGRAM=$sum
  if ! is_program "$WORK/program"; then
    log 'peermasq-program is rejected: not the node program, or truncated'
    return 1
  fi
  store_file "$WORK/program" "$DIR/peermasq.sh"
}

# <file>: is the file a complete and well-formed node program? A program without its last line would do nothing.
is_program() {
  local last='main "$@"'
  [[ $(head -n 2 "$1") == '#!/usr/bin/env bash'$'\n'"$marker" && $(tail -n 1 "$1") == "$last" ]] || return 1
  "$BASH" -n "$1" 2>/dev/null
}

# Has another program been installed since this one started?
was_reinstalled() {
  [[ $DIR/peermasq.sh -nt $WORK/started ]] || return 1
  : >"$WORK/started"
  [[ $(sha256sum <"$DIR/peermasq.sh") != "$PROGRAM_SUM" ]]
}
