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

