# --- Stored files ---

# <name> <text>: stores the text as $DIR/<name>. Readers always see either the old or the new file, never a part of
# one.
store_text() {
  printf '%s\n' "$2" >"$DIR/.$1.new" || return 1
  mv -f -- "$DIR/.$1.new" "$DIR/$1"
}

# <file> <file>: do both files exist and contain the same text?
same_text() {
  local one='' other=''
  { IFS= read -r -d '' one <"$1"; IFS= read -r -d '' other <"$2"; } 2>/dev/null
  [[ -f $1 && -f $2 && $one == "$other" ]]
}

# <file> <target>: stores a copy of the file, as safely as store_text. Does not change a target that has the same
# content.
store_file() {
  same_text "$1" "$2" && return
  cp -- "$1" "$2.new" || return 1
  mv -f -- "$2.new" "$2"
}

# Stores this program. Fails if it was not run from a file.
store_program() {
  [[ -n $PROGRAM ]] || return 1
  [[ $PROGRAM -ef $DIR/peermasq.sh ]] && return
  store_file "$PROGRAM" "$DIR/peermasq.sh"
}

# REPLY: the stored report, or empty if there is none.
stored_status() {
  REPLY=''
  if [[ -r $DIR/status ]]; then IFS= read -r REPLY <"$DIR/status"; fi
}

# Sets STORED_ID and STORED_GENERATION.
read_stored() {
  local line pattern='^generation ([0-9]{1,16})$'
  STORED_ID='' STORED_GENERATION=''
  [[ -f $DIR/ruleset ]] || return 0
  { read -r _; read -r line; } <"$DIR/ruleset"
  if [[ $line =~ $pattern ]] && ruleset_id "$DIR/ruleset"; then
    STORED_ID=$REPLY STORED_GENERATION=${BASH_REMATCH[1]}
  else
    warn 'the stored rule set is damaged: ignored'
  fi
}

# Creates the folder, which check_folder has accepted. Exits if that fails.
make_folder() {
  if ! { { [[ -d $DIR ]] || mkdir -p -- "$DIR"; } && : >>"$DIR/lock"; } 2>/dev/null; then
    fail "cannot write to $DIR; set PEERMASQ_DIR to a writable folder"
  fi
}

# The program and the stored rule set, with their sizes and the times at which they changed.
FILE_VERSIONS=''

# Refuses a folder that a user other than root can change or replace, because root runs the program in it at boot. Sets
# FILE_VERSIONS with the same process.
check_folder() {
  local parts path='' paths=(/) folders owner group mode name IFS=' '
  FILE_VERSIONS=''
  IFS=/ read -r -a parts <<<"${DIR#/}"
  for name in "${parts[@]}"; do
    path+=/$name
    [[ -e $path || -L $path ]] || break
    paths+=("$path")
  done
  folders=${#paths[@]}
  for name in "$DIR/ruleset" ${PROGRAM:+"$PROGRAM"}; do
    if [[ -e $name ]]; then paths+=("$name"); fi
  done
  while read -r owner group mode name; do
    if ((folders == 0)); then
      FILE_VERSIONS+=$name$'\n'
      continue
    fi
    folders=$((folders - 1)) name=${name%%|*}
    if ((owner == 0)); then
      case $mode in
        l* | d????-??-?) continue ;;
        d???????-?) if ((group == 0)); then continue; fi ;;
        # In a folder with the sticky bit, only the owner of a file can replace the file.
        d????????[tT]) if [[ $name != "$DIR" ]]; then continue; fi ;;
      esac
    fi
    refuse "$name is owned by a user other than root, or is writable by other users"
  done < <(stat -c '%u %g %A %n|%i %s %y %z' -- "${paths[@]}")
}

# Creates WORK, inside the folder if the folder exists. Exits if there is no space.
make_work() {
  local template=()
  if [[ -d $DIR ]]; then template=("$DIR/.tmp.XXXXXX"); fi
  WORK=$(mktemp -d ${template[@]+"${template[@]}"}) || fail 'cannot create a temporary folder'
  has_space || fail "no space left for temporary files in $WORK"
}

has_space() {
  { printf "%${min_space}s" '' >"$WORK/space"; } 2>/dev/null || return
  : >"$WORK/space"
}

remove_work() {
  if [[ -n $WORK ]]; then rm -rf -- "$WORK"; fi
  WORK=''
}

# <seconds>: removes temporary files that killed runs left behind at least this long ago. A running watch holds a lock
# on its folder; all other commands end within an hour.
sweep_work() {
  local folder folders changed now
  set +f
  folders=("$DIR"/.tmp.*)
  set -f
  printf -v now '%(%s)T' -1
  for folder in "${folders[@]}"; do
    [[ $folder != "$WORK" && -d $folder ]] || continue
    changed=$(stat -c %Y -- "$folder") || continue
    if ((now - changed >= $1)) && flock -n "$folder" true; then rm -rf -- "$folder"; fi
  done
}

# If a run was killed while it changed the kernel, its rule set is still here. That rule set is newer than the stored
# one, and replaces it.
store_interrupted() {
  local text=''
  [[ -f $DIR/.ruleset.new ]] || return
  IFS= read -r -d '' text <"$DIR/.ruleset.new"
  if [[ $text == peermasq/?$'\ngeneration '*$'\n' ]]; then
    mv -f -- "$DIR/.ruleset.new" "$DIR/ruleset"
  else
    rm -f -- "$DIR/.ruleset.new"
  fi
}

# <descriptor> <seconds>: takes the lock on the open file, or fails after this time. Polls, because flock in busybox and
# toybox has no timeout.
take_lock() {
  local deadline=$((SECONDS + $2))
  until flock -n "$1"; do
    ((SECONDS < deadline)) || return 1
    # Some versions only sleep for whole seconds.
    if ! sleep 0.1 2>/dev/null; then sleep 1; fi
  done
}

# Takes the lock, or exits as busy. `remove` deletes the lock file, so a lock on an earlier file is not enough.
lock() {
  local deadline=$((SECONDS + WAIT))
  while :; do
    make_folder
    exec 9>>"$DIR/lock"
    if ! take_lock 9 $((deadline > SECONDS ? deadline - SECONDS : 0)); then
      read_stored
      busy "another peermasq has held $DIR/lock for more than $WAIT s"
    fi
    [[ $DIR/lock -ef /proc/self/fd/9 ]] && break
  done
  sweep_work 3600
  store_interrupted
}
