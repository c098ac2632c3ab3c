# --- eBPF ---
# A BPF program on a device can translate, forward or drop pods' packets before they reach iptables. The rules are
# then in force, but have no effect.

# The results of find_ebpf: "ebpf", "ebpf-unreadable" or empty, and a message that says what to configure instead.
EBPF_CODE='' EBPF_REASON=''
# The devices on routes to pods or to the destinations. Read on first use.
declare -A ROUTED=()

readonly cilium_state=/var/run/cilium/state
readonly cilium_programs='^(cil_.*|tail_.*|bpf_[a-z_]+\.o:.*)$'
# Programs that are loaded on every node. systemd and the kernel load the programs with these names. Container runtimes
# load unnamed programs, the device filters of each container's cgroup. None of these programs is attached to a device.
readonly system_programs='^(|sd_.*|restrict_filesys.*|userns_restrict.*|sysctl_monitor.*|dump_bpf_(map|prog)|hid_.*)$'

# Sets EBPF_CODE and EBPF_REASON.
find_ebpf() {
  local cilium
  EBPF_CODE='' EBPF_REASON='' ROUTED=()
  if ! read_devices; then
    report_ebpf ebpf-unreadable 'the devices cannot be listed, so BPF programs on them are unknown: install iproute2'
    return
  fi
  read_attached
  if [[ -n $SEEN_TC && -n $SEEN_TCX ]]; then
    HAS_DEEP_CHECK=yes
  elif is_deep_check_due; then
    HAS_DEEP_CHECK=yes
    read_loaded
  fi
  evaluate_cilium
  cilium=$REPLY
  evaluate_attached "$cilium"
  evaluate_loaded "$cilium"
}

# <code> <reason>: records a problem. Only the first problem is kept.
report_ebpf() {
  if [[ -z $EBPF_CODE ]]; then EBPF_CODE=$1 EBPF_REASON=$2; fi
}

# Reading every loaded program takes longer than all other checks. While the node stays proven, this is done only when
# the stored proof ends.
is_deep_check_due() {
  stored_status
  [[ $RESULT != unchanged || $REPLY != *'"proven":true'* || $PROOF_END -eq 0 ]]
}

# REPLY: "iptables" if Cilium runs and leaves masquerading and routing to the kernel, otherwise empty. Cilium writes
# its settings into a header file for its compiler (one setting ENABLE_MASQUERADE until 1.12, then one per family).
evaluate_cilium() {
  local text=$'\n' file=$cilium_state/globals/node_config.h masquerade=$'\n#define ENABLE_MASQUERADE(_IPV[46])? '
  local advice="masquerade the destinations in Cilium (nonMasqueradeCIDRs of its ip-masq-agent)"
  REPLY=''
  has_cilium || return 0
  if [[ -r $file ]]; then text+=$(<"$file"); fi
  if [[ $text != *$'\n#define '* ]]; then
    report_ebpf ebpf-unreadable "Cilium runs, but $file cannot be read: whether it masquerades in eBPF is unknown"
  elif [[ $text =~ $masquerade ]] || has_bpf_masquerade; then
    report_ebpf ebpf "Cilium masquerades in eBPF, before iptables: $advice, or set bpf.masquerade=false"
  elif [[ $text == *$'\n#define ENABLE_HOST_ROUTING '* ]]; then
    report_ebpf ebpf "Cilium routes pods' packets in eBPF, past iptables: set bpf.hostLegacyRouting=true, or $advice"
  else
    REPLY=iptables
  fi
}

has_cilium() {
  local program
  for program in ${PROGRAMS[@]+"${PROGRAMS[@]#* }"} ${LOADED[@]+"${LOADED[@]}"}; do
    [[ $program == cil_* || $program == bpf_lxc.o:* ]] && return 0
  done
  [[ " ${DEVICES[*]} " == *' cilium_host '* ]] && return 0
  has_files "$bpf_folder/cilium/*" "$bpf_folder/tc/globals/cilium_*"
}

has_bpf_masquerade() {
  grep -qE '"EnableBPFMasquerade": *true' "$cilium_state/agent-runtime-config.json" 2>/dev/null
}

# <Cilium>: reports programs on devices that pods' packets pass. <Cilium> is the REPLY of evaluate_cilium.
evaluate_attached() {
  local program device name names=''
  for program in ${PROGRAMS[@]+"${PROGRAMS[@]}"}; do
    device=${program%% *} name=${program#* }
    if [[ $1 == iptables && $name =~ $cilium_programs ]]; then continue; fi
    is_policy_program "$device" "$name" && continue
    is_on_path "$device" || continue
    if [[ " $names " != *" $name on $device, "* ]]; then names+="$name on $device, "; fi
    ((${#names} < 60)) || break
  done
  if [[ -n $names ]]; then
    shorten "${names%, }" 80
    report_ebpf ebpf "BPF programs ($REPLY) may handle pods' packets before iptables: masquerade in the network plugin \
that loads them, or detach them"
  fi
}

# <device> <name>: does the program belong to AWS's network policy agent? Its programs drop only packets that a policy
# denies, and leave all others to the kernel. The agent pins each of its programs, so a matching name alone is not
# enough.
is_policy_program() {
  [[ $1 == eni* || $1 == vlan* ]] || return 1
  [[ $2 == handle_ingress || $2 == handle_egress ]] || return 1
  has_files "$bpf_folder/globals/aws/programs/*_$2"
}

# <Cilium>: if some hooks could not be read, reports loaded programs that may be attached to them.
evaluate_loaded() {
  local name names='' tool='bpftool 7.3 or newer'
  if [[ -z $SEEN_TC ]]; then tool='tc (package iproute-tc or iproute2) or bpftool'; fi
  for name in ${LOADED[@]+"${LOADED[@]}"}; do
    [[ $name =~ $system_programs ]] && continue
    if [[ $1 == iptables && $name =~ $cilium_programs ]]; then continue; fi
    if [[ ", $names" != *", $name, "* ]]; then names+="$name, "; fi
    ((${#names} < 60)) || break
  done
  if [[ -n $names ]]; then
    shorten "${names%, }" 70
    report_ebpf ebpf-unreadable "BPF programs ($REPLY) are loaded, but it is unknown where they are attached: \
install $tool"
  elif [[ -z $SEEN_TC && -n $HIDDEN ]]; then
    report_ebpf ebpf-unreadable "BPF programs on devices cannot be read ($HIDDEN): install $tool"
  fi
}

# <device>: can packets from pods to the destinations pass this device? Bridge ports, members of a bond and the devices
# below a VLAN do not appear in the routing tables.
is_on_path() {
  local device master=${MASTERS[$1]:-}
  has_sources || return 0
  if ((${#ROUTED[@]} == 0)); then read_routed; fi
  [[ $1 == lxc* || -n ${ROUTED[$1]:-} || -n ${ROUTED[${master:--}]:-} ]] && return 0
  for device in "${!LOWERS[@]}"; do
    [[ ${LOWERS[$device]} == "$1" && -n ${ROUTED[$device]:-} ]] && return 0
  done
  return 1
}

# Sets ROUTED from all routing tables.
read_routed() {
  local family line
  ROUTED[-]=''
  for family in 4 6; do
    read_family "$family" || continue
    for line in ${ROUTE_LINES[@]+"${ROUTE_LINES[@]}"}; do
      case $line in
        default' '*) add_routed "$line" ;;
        [0-9a-f]*[.:]*) if is_route_of_ours "${line%% *}" "$family"; then add_routed "$line"; fi ;;
      esac
    done
  done
}

# <route>: adds the devices of the route to ROUTED.
add_routed() {
  local line=$1
  while [[ $line == *' dev '* ]]; do
    line=${line#*' dev '}
    ROUTED[${line%% *}]=yes
  done
}

# <destination> <family>: does the route lead to pods or to a destination?
is_route_of_ours() {
  local i length=${1#*/} checked=0
  parse_address "${1%/*}" || return 0
  contains_address source && return 0
  contains_address masquerade && return 0
  [[ $1 == */* ]] || return 1
  for ((i = 0; i < ${#KINDS[@]}; i++)); do
    if [[ ${KINDS[i]} == exempt || ${FAMILIES[i]} != "$2" ]] || ((LENS[i] < length)); then continue; fi
    if ((HI == (HIS[i] & MASK_HI[length]) && LO == (LOS[i] & MASK_LO[length]))); then return 0; fi
    # Most rule sets have fewer lines. For a larger rule set, the device is assumed to be on the path.
    checked=$((checked + 1))
    ((checked < 200)) || return 0
  done
  return 1
}
