#!/usr/bin/env bash
# peermasq: the node program
#
# Masquerades pod traffic to the destinations of one rule set, so that peers see the node's address, which they have
# a route back to. It owns chain PEERMASQ in table nat, table peermasq in nft (on nodes without nft: chain
# PEERMASQ-STEER in table mangle), the ip rules of priority 1100 for mark 0x1000, ipset sets and systemd units named
# peermasq*, and the folder /var/lib/peermasq. It changes nothing else.
#
#   sudo bash /var/lib/peermasq/peermasq.sh status    what is in force
#   sudo bash /var/lib/peermasq/peermasq.sh remove    removes all of the above, including this file
#   sudo bash /var/lib/peermasq/peermasq.sh help      all commands
#
# Needs bash >= 4.2, coreutils, flock, and iptables or nft. Built from shared/node/src in the peermasq repository: make
# changes there. Nothing runs before the last line is read, so a truncated copy does nothing.
set -u -f -o pipefail
export LC_ALL=C
PATH=${PATH:-/usr/bin}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin
umask 077

usage() {
  cat <<'USAGE'
Usage: bash peermasq.sh COMMAND
  apply [--file F]     apply the rule set in F (default: stdin) and verify it
  status               print the rule set in force, drift, counters, and other programs that masquerade
  repair               re-apply the stored rule set where it drifted
  probe                run the rule set's probes from an address in the pod range
  remove               remove everything that belongs to peermasq, and nothing else
  snapshot [--part N]  print the tables, sets, addresses and routes that decide what is masqueraded; --part N: only
                       one compressed part. Part 0 takes a new snapshot; the other parts belong to that snapshot
  watch [--install]    GCE: follow the instance metadata; --install: keep running in the background
Each command prints one line of JSON on stdout, except snapshot, which prints text, and watch, which writes its report
to the guest attribute peermasq/status.
Exit codes: 0 applied or unchanged; 2 refused, nothing changed; 3 failed, previous rules still in force; 4 busy
Environment:
  PEERMASQ_DIR         folder for stored files (/var/lib/peermasq)
  PEERMASQ_BACKEND     auto (default), iptables, iptables-nft, iptables-legacy or nft
  PEERMASQ_PERSIST     0: do not install systemd units
  PEERMASQ_WAIT        seconds to wait for a lock (10)
  PEERMASQ_INTERVAL    seconds between checks by watch while nothing changes (60)
USAGE
}

# A new connection is compared with every rule of a list. New connections per second, measured with iptables-nft,
# relative to one rule: 25 rules 100 %, 50 rules 90 %, 100 rules 72 %, a set 95 %. Up to this threshold a list is
# about as fast as a set, and is easier to read.
readonly set_threshold=32
readonly max_bytes=2097152 max_destinations=10000 max_probes=16 flush_seconds=5 probe_seconds=3 min_space=65536
readonly marker='# peermasq: the node program'
# The highest rule set format that this program reads: peermasq/2.
readonly max_format=2
readonly unit_folders='/etc/systemd/system /run/systemd/system'
readonly backends='iptables-nft iptables-legacy nft'
readonly backend_pattern='"backend":"(iptables-nft|iptables-legacy|nft)"'

# The programs that every command needs. If another program is missing (ip, nft, ipset, conntrack, curl, nsenter, tc,
# bpftool, systemctl), the report names it and says what could not be done or proven because of that.
readonly required_tools='base64 cat chmod cp cut flock grep gzip head mkdir mktemp mv rm rmdir sed sha256sum sleep sort stat
  tail tr uniq wc'

# The fields of the report.
RESULT='' REASON='' CODE='' PROVEN=false BACKEND='' RULES=0 PACKETS=0 FLUSHED=0 PERSISTED=no
WARNINGS=() DRIFT=() PROBED=() MASQUERADERS=() BASIS=() PATHS=() PORTS=()
# The rule set that was sent, and the rule set that is in force.
ID='' GENERATION='' STORED_ID='' STORED_GENERATION=''
# WORK is a temporary folder. PROGRAM is the file from which this program runs, or empty if there is none.
DIR='' WAIT='' INTERVAL='' WORK='' PROGRAM='' FINISHED='' ERROR=''
# Whether remove_rules has found anything to remove.
REMOVED=''
