# --- BPF programs ---
# Finds the BPF programs on devices with ip, tc and bpftool. Since version 6.6 the kernel has a hook, tcx, that only
# bpftool 7.3 and newer can show. Without that version, the lists of loaded programs and of links that processes have
# open must show that no other program is attached.

# PROGRAMS has "DEVICE NAME" for each program on a device. SEEN_TC and SEEN_TCX say whether all programs at tc hooks and
# at tcx hooks are known.
PROGRAMS=() SEEN_TC='' SEEN_TCX=''
# Devices by interface index; then, by device name, the bridge or bond that a device belongs to, and the device below
# a VLAN.
declare -A DEVICES=() MASTERS=() LOWERS=()
# The names of loaded programs that may be attached to a device, and why the list may be incomplete.
LOADED=() HIDDEN=''
# Programs by their tag, which is a hash of their instructions. KNOWN_TAGS contains programs on a known
# device or on no device; PACKET_TAGS contains programs of types that process packets.
declare -A KNOWN_TAGS=() PACKET_TAGS=()

readonly bpf_folder=/sys/fs/bpf
# The program types (linux/bpf.h) that process packets on a device or a route: sched_cls, sched_act, xdp, lwt_in,
# lwt_out, lwt_xmit, lwt_seg6local.
readonly packet_types=' 3 4 6 10 11 12 19 '

# <pattern>...: does any file match?
has_files() {
  local files
  set +f
  # shellcheck disable=SC2206 # the patterns are split and expanded on purpose
  files=($*)
  set -f
  for files in "${files[@]}"; do
    [[ -e $files ]] && return 0
  done
  return 1
}

# Sets DEVICES, MASTERS and LOWERS, and adds XDP programs and netkit devices to PROGRAMS. Fails if ip cannot list the
# devices.
read_devices() {
  local index name rest lower xdp=' prog/xdp[a-z]* id [0-9]+( name ([^ ]+))?'
  PROGRAMS=() DEVICES=() MASTERS=() LOWERS=()
  ip -o -d link >"$WORK/devices" 2>/dev/null || return 1
  while read -r index name rest; do
    name=${name%:} lower=''
    if [[ $name == *@* ]]; then lower=${name#*@} name=${name%%@*}; fi
    DEVICES[${index%:}]=$name
    if [[ -n $lower && $lower != if[0-9]* ]]; then LOWERS[$name]=$lower; fi
    if [[ $rest == *' master '* ]]; then
      lower=${rest#*' master '}
      MASTERS[$name]=${lower%% *}
    fi
    if [[ $rest == *xdp* ]]; then
      if [[ $rest =~ $xdp ]]; then
        PROGRAMS+=("$name ${BASH_REMATCH[2]:-XDP}")
      elif [[ $rest =~ ' mtu '[0-9]+' xdp' ]]; then
        PROGRAMS+=("$name XDP")
      fi
    fi
    # The programs of a netkit device run where a veth device would pass packets to the kernel. Only Cilium uses
    # netkit.
    if [[ $rest == *' netkit mode '* ]]; then PROGRAMS+=("$name netkit"); fi
  done <"$WORK/devices"
  ((${#DEVICES[@]} > 0))
}

# Adds the programs on devices to PROGRAMS. Sets SEEN_TC and SEEN_TCX.
read_attached() {
  local major minor
  SEEN_TC='' SEEN_TCX='' LOADED=() HIDDEN='' KNOWN_TAGS=() PACKET_TAGS=()
  IFS=.- read -r major minor _ </proc/sys/kernel/osrelease
  if ((major * 100 + ${minor%%[!0-9]*} < 606)); then SEEN_TCX=yes; fi
  if read_bpftool; then
    SEEN_TC=yes
    if [[ -z $SEEN_TCX ]] && knows_tcx; then SEEN_TCX=yes; fi
  fi
  # tc also shows tags, which distinguish the programs on devices from other loaded programs.
  if [[ -z $SEEN_TC || -z $SEEN_TCX ]] && read_tc; then SEEN_TC=yes; fi
}

# Adds the programs that bpftool shows. Fails if bpftool is not installed or cannot read them.
read_bpftool() {
  local device hook name
  has bpftool || return 1
  bpftool net show >"$WORK/attached" 2>/dev/null || return 1
  while read -r device hook name _; do
    # Some versions of bpftool indent these lines. All versions also print XDP programs, which ip shows too.
    if [[ $device == *\(*\) && $hook == */* ]]; then PROGRAMS+=("${device%\(*} ${name:-$hook}"); fi
  done <"$WORK/attached"
}

# Does the installed bpftool show tcx programs? Version 7.3 was the first to show them.
knows_tcx() {
  local version
  version=$(bpftool version 2>/dev/null)
  [[ $version =~ v([0-9]+)\.([0-9]+) ]] || return 1
  ((BASH_REMATCH[1] * 100 + BASH_REMATCH[2] >= 703))
}

# Adds the programs that tc shows. Pods come and go, so if a device is missing, tc is run again.
read_tc() {
  local kind device devices attempt
  has tc || return 1
  for attempt in 1 2; do
    devices=()
    tc qdisc show >"$WORK/qdiscs" 2>/dev/null || return 1
    while read -r _ kind _ _ device _; do
      if [[ $kind == clsact || $kind == ingress ]]; then devices+=("$device"); fi
    done <"$WORK/qdiscs"
    ((${#devices[@]} > 0)) || return 0
    has_filters "${devices[@]}" || return 0
    read_filters "${devices[@]}" && return 0
    log "attempt $attempt: tc did not list all devices"
  done
  return 1
}

# <device>...: does one of the devices have a BPF program, or is one of the devices missing?
has_filters() {
  local text
  printf 'filter show dev %s ingress\n' "$@" >"$WORK/batch"
  printf 'filter show dev %s egress\n' "$@" >>"$WORK/batch"
  tc -force -batch "$WORK/batch" >"$WORK/filters" 2>"$WORK/errors"
  IFS= read -r -d '' text <"$WORK/filters"
  [[ -s $WORK/errors || $text == *bpf* ]]
}

# <device>...: adds the programs of these devices. One process lists all devices; the output for each device starts
# with the line of its qdisc. Fails if a device is missing.
read_filters() {
  local line name device at=0 programs=() devices=("$@")
  local program='^(filter .* bpf .*handle 0x[0-9a-f]+|action order [0-9]+: bpf) ([^ ]+)( .* tag ([0-9a-f]+))?'
  for device; do
    printf 'qdisc show dev %s\nfilter show dev %s ingress\nfilter show dev %s egress\n' "$device" "$device" "$device"
  done >"$WORK/batch"
  tc -force -batch "$WORK/batch" >"$WORK/filters" 2>/dev/null
  while read -r line; do
    if [[ $line == 'qdisc clsact '* || $line == 'qdisc ingress '* ]]; then
      at=$((at + 1))
    elif [[ $line =~ $program ]]; then
      ((at > 0 && at <= $#)) || return 1
      name=${BASH_REMATCH[2]}
      KNOWN_TAGS[${BASH_REMATCH[4]:--}]=yes
      # If a program has no name, the next words are its flags.
      if [[ $name == direct-action || $name == bytecode || $name == *_hw ]]; then name=bpf; fi
      programs+=("${devices[at - 1]} $name")
    fi
  done <"$WORK/filters"
  ((at == $#)) || return 1
  PROGRAMS+=(${programs[@]+"${programs[@]}"})
}

# Adds the links that processes have open to PROGRAMS, and loaded programs that may be on a device to LOADED. Sets
# HIDDEN.
read_loaded() {
  local symbol tag name
  declare -A names=()
  if lists_programs; then
    grep -E ' bpf_prog_[0-9a-f]{16}' /proc/kallsyms >"$WORK/loaded" 2>/dev/null
    while read -r _ _ symbol _; do names[${symbol:9:16}]=${symbol:26}; done <"$WORK/loaded"
  else
    : >"$WORK/loaded"
  fi
  read_open_programs
  while read -r _ _ symbol _; do
    tag=${symbol:9:16} name=${symbol:26}
    if [[ -z ${KNOWN_TAGS[$tag]:-} ]]; then LOADED+=("$name"); fi
  done <"$WORK/loaded"
  for tag in "${!PACKET_TAGS[@]}"; do
    if [[ -z ${KNOWN_TAGS[$tag]:-}${names[$tag]:-} ]]; then LOADED+=("without a name"); fi
  done
}

# Does the kernel list all JIT-compiled programs among its symbols? If not, sets HIDDEN. The settings exist only in
# the network namespace of process 1.
lists_programs() {
  local file value settings=/proc/sys/net/core/bpf_jit
  HIDDEN=''
  for file in "${settings}_enable" "${settings}_kallsyms" "${settings}_harden"; do
    value=''
    { read -r value <"$file"; } 2>/dev/null
    case $file:$value in
      *_enable:0 | *_kallsyms:0 | *_harden:[12]) HIDDEN="hidden by sysctl net.core.${file##*/}=$value" ;;
    esac
  done
  if ! { read -r -n 1 _ </proc/kallsyms; } 2>/dev/null; then HIDDEN='/proc/kallsyms is empty'; fi
  [[ -z $HIDDEN ]]
}

# Reads the programs and links that processes have open. Sets PACKET_TAGS, adds the tags of programs that do not
# process packets to KNOWN_TAGS, and adds tcx and netkit links to PROGRAMS with the names in the caller's `names`. For a
# program, the kernel shows the type and the tag; for a link, the tag and the device.
read_open_programs() {
  local key value tag='' type='' link='' here=yes
  PACKET_TAGS=()
  list_open_programs >"$WORK/open"
  while read -r key value _; do
    case $key in
      elsewhere) here='' link='' ;;
      prog_type:) type=$value link='' ;;
      link_type:) type='' link=$value ;;
      prog_tag:)
        if [[ -n $type && $packet_types == *" $type "* || $link == tcx || $link == netkit ]]; then
          if [[ -n $here ]]; then PACKET_TAGS[$value]=yes; fi
        elif [[ -n $type || ( -n $link && $link != xdp ) ]]; then
          KNOWN_TAGS[$value]=yes
        fi
        tag=$value type=''
        ;;
      ifindex:)
        if [[ ($link == tcx || $link == netkit) && -n ${DEVICES[$value]:-} ]]; then
          KNOWN_TAGS[$tag]=yes
          PROGRAMS+=("${DEVICES[$value]} ${names[$tag]:-$link}")
        fi
        ;;
    esac
  done <"$WORK/open"
}

# Prints the programs and links that processes have open. A link's interface index belongs to the network namespace of
# the process that created the link, so links of other namespaces are left out. Agents that trace the node often run in
# another namespace; their programs are printed with their types.
list_open_programs() {
  local own='' inode file here=() elsewhere=()
  # The first line is for the network namespace in which this program runs.
  while read -r inode file; do
    own=${own:-$inode} file=${file%/ns/net}/fdinfo
    if [[ $inode == "$own" ]]; then here+=("$file"); else elsewhere+=("$file"); fi
  done < <(
    set +f
    stat -L -c '%i %n' /proc/self/ns/net /proc/[0-9]*/ns/net 2>/dev/null
  )
  if ((${#here[@]} > 1)); then grep -rhsE '^(prog_type|prog_tag|link_type|ifindex):' "${here[@]:1}"; fi
  printf 'elsewhere\n'
  if ((${#elsewhere[@]} > 0)); then grep -rhsE '^prog_(type|tag):' "${elsewhere[@]}"; fi
}
