# --- collect ---
# Prints what `explain` reads: the output of each command after a line that names the command, and other facts as
# comments. Changes nothing. This section is POSIX sh and uses no other section, because `peermasq collect` prints it as
# a script of its own, for nodes that have nothing else. A program that is not installed is passed over.

# Whether iptables lacks rules that only nft prints, and whether rules use sets. Set by collect_iptables.
COLLECT_NFT_ONLY='' COLLECT_SETS=''

# <pod>: prints everything. If the address of a pod is not empty, also the pod's connections.
collect_node() {
  COLLECT_NFT_ONLY='' COLLECT_SETS=''
  for collect_family in 4 6; do
    collect_iptables "$collect_family" nft
    collect_iptables "$collect_family" legacy
  done
  collect_nft
  # On a node without sets, the command to list them would load a kernel module.
  if [ -n "$COLLECT_SETS" ]; then collect_output 'ipset save' ipset save; fi
  collect_output 'ip addr' ip addr
  for collect_family in 4 6; do
    collect_output "ip -$collect_family route show table all" ip "-$collect_family" route show table all
    collect_output "ip -$collect_family rule" ip "-$collect_family" rule
  done
  collect_sysctls
  collect_versions
  collect_ebpf
  if [ -n "$1" ]; then collect_connections "$1"; fi
}

collect_has() {
  collect_path=$(command -v "$1" 2>/dev/null) || return 1
  if [ ! -f "$collect_path" ]; then return 1; fi
  [ -x "$collect_path" ]
}

# <title> <command> [<argument>...]: prints the title and the output. A failure is also printed, so that readers know that
# rules may be missing.
collect_output() {
  collect_title=$1
  shift
  collect_has "$1" || return 0
  if COLLECTED=$("$@"); then
    printf '# peermasq: %s\n' "$collect_title"
    if [ -n "$COLLECTED" ]; then printf '%s\n' "$COLLECTED"; fi
  else
    # iptables-nft before 1.8.8 fails if it cannot print a table.
    COLLECTED='' COLLECT_NFT_ONLY=yes
    printf '# peermasq: %s failed\n' "$collect_title"
  fi
}

# <family> <variant>: prints the tables of one variant of iptables.
collect_iptables() {
  collect_name=iptables collect_names=/proc/net/ip_tables_names
  if [ "$1" = 6 ]; then collect_name=ip6tables collect_names=/proc/net/ip6_tables_names; fi
  collect_title=$collect_name-$2-save COLLECTED=''
  if [ "$2" = legacy ]; then
    # Listing a table of iptables-legacy that does not exist would create it.
    if [ -e "$collect_names" ] && [ ! -r "$collect_names" ]; then return 0; fi
    if [ ! -e "$collect_names" ] || ! grep -q . "$collect_names"; then
      if [ -r /proc/net/dev ]; then printf '# peermasq: %s\n' "$collect_title"; fi
      return 0
    fi
  fi
  if collect_has "$collect_title"; then
    collect_output "$collect_title" "$collect_title"
  elif collect_has "xtables-$2-multi"; then
    collect_output "$collect_title" "xtables-$2-multi" "$collect_name-save"
  elif [ "$(collect_variant "$collect_name")" = "$2" ]; then
    collect_output "$collect_title" "$collect_name-save"
  elif [ "$2" = legacy ]; then
    printf '# peermasq: %s failed\n' "$collect_title"
  fi
  case $COLLECTED in *--match-set*) COLLECT_SETS=yes ;; esac
  case $COLLECTED in *"use 'nft' tool"*) COLLECT_NFT_ONLY=yes ;; esac
}

# <command>: prints the variant that iptables or ip6tables runs. Before version 1.8 there was only legacy.
collect_variant() {
  case $("$1" -V 2>/dev/null) in
    *nf_tables*) echo nft ;;
    ?*) echo legacy ;;
  esac
}

# Prints nft's own tables. If all tables belong to iptables, which has printed them, only their names.
collect_nft() {
  collect_has nft || return 0
  if [ -z "$COLLECT_NFT_ONLY" ] && { collect_has iptables-nft-save || collect_has xtables-nft-multi; }; then
    if COLLECTED=$(nft list tables 2>/dev/null) &&
      ! printf '%s\n' "$COLLECTED" | grep -qvE '^(table ip6? (raw|mangle|nat|filter|security))?$'; then
      collect_comments 'nft list tables' "$COLLECTED"
      return 0
    fi
  fi
  collect_output 'nft -j list ruleset' nft -j list ruleset
}

# <title> <text>: prints the lines of the text as comments.
collect_comments() {
  printf '# peermasq: %s\n' "$1"
  if [ -n "$2" ]; then printf '%s\n' "$2" | while IFS= read -r collect_line; do printf '#   %s\n' "$collect_line"; done; fi
}

collect_sysctls() {
  collect_comments sysctl "$(
    for collect_key in ipv4.ip_forward ipv6.conf.all.forwarding; do collect_sysctl "$collect_key"; done
    # shellcheck disable=SC2012 # names of interfaces are plain, and find may not be installed
    ls /proc/sys/net/ipv4/conf 2>/dev/null | while IFS= read -r collect_device; do
      collect_sysctl "ipv4.conf.$collect_device.rp_filter"
    done
  )"
}

# <key>: prints net.KEY = VALUE. The name of an interface may contain dots.
collect_sysctl() {
  collect_path=$1
  case $1 in
    ipv4.conf.*)
      collect_path=${1#ipv4.conf.}
      collect_path=ipv4/conf/${collect_path%.rp_filter}/rp_filter
      ;;
    ipv6.conf.all.forwarding) collect_path=ipv6/conf/all/forwarding ;;
    *) collect_path=${1%%.*}/${1#*.} ;;
  esac
  if [ -r "/proc/sys/net/$collect_path" ]; then
    IFS= read -r collect_value <"/proc/sys/net/$collect_path"
    printf 'net.%s = %s\n' "$1" "$collect_value"
  fi
}

collect_versions() {
  collect_comments versions "$(
    printf 'kernel %s\n' "$(uname -r)"
    for collect_program in 'iptables -V' 'nft -v' 'ipset -v' 'ip -V'; do
      if collect_has "${collect_program%% *}"; then
        "${collect_program%% *}" "${collect_program#* }" 2>/dev/null
      fi
    done
  )"
}

# Prints the BPF programs on the node's interfaces, which a CNI attaches. They can bypass the rules of iptables and nft.
collect_ebpf() {
  if ! collect_has tc && ! collect_has bpftool; then
    collect_comments ebpf 'not checked: neither tc nor bpftool is installed'
    return 0
  fi
  collect_comments ebpf "$(
    if collect_has tc; then
      # shellcheck disable=SC2012 # as above
      ls /sys/class/net 2>/dev/null | while IFS= read -r collect_device; do
        for collect_hook in ingress egress; do
          tc filter show dev "$collect_device" "$collect_hook" 2>/dev/null | grep bpf |
            while IFS= read -r collect_line; do printf '%s %s: %s\n' "$collect_device" "$collect_hook" "$collect_line"; done
        done
      done
    fi
    if collect_has bpftool; then bpftool net show 2>/dev/null; fi
  )"
}

# <pod>: prints at most 1,000 connections of the pod.
collect_connections() {
  collect_has conntrack || return 0
  collect_family=ipv4
  case $1 in *:*) collect_family=ipv6 ;; esac
  printf '# peermasq: conntrack -L -f %s -s %s\n' "$collect_family" "$1"
  conntrack -L -f "$collect_family" -s "$1" 2>/dev/null | head -n 1000
}
