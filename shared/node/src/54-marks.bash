# --- Marks that replace ours ---
# Rules of other programs that run after ours can change the mark with which packets are steered.

# By "table FAMILY NAME": the highest priority of the table's chains at the hook prerouting.
declare -A PREROUTING=()

# <family>: sets REPLACED to the marks that pods' packets may carry instead of ours.
find_replaced_marks() {
  REPLACED=()
  [[ -n ${STEERED[$1]} ]] || return 0
  # All tables of iptables run before our table of nft, so they cannot replace its marks.
  if ! steers_with_nft; then
    if iptables_replaces_mark iptables-nft "$1" || iptables_replaces_mark iptables-legacy "$1"; then
      REPLACED=("${MARKS[@]}")
      return 0
    fi
  fi
  find_marks_in_nft "$1"
}

# <backend> <family>: can rules of this backend replace our mark? True also if the rules cannot be read.
iptables_replaces_mark() {
  local table line mask bit=$((${steer_mark%/*}))
  is_installed "$1" || return
  for table in mangle nat; do
    iptables_save "$1" "$2" "$table" || return 0
    while IFS= read -r line; do
      [[ $line == *' -A '* && $line != *' -A PEERMASQ'* ]] || continue
      mask=''
      # A rule that does not change our bit has a mask without this bit.
      if [[ $line =~ \ -j\ MARK\ --set-xmark\ (0x[0-9a-f]+)/(0x[0-9a-f]+) ]]; then
        mask=$((BASH_REMATCH[1] | BASH_REMATCH[2]))
      elif [[ $line =~ \ -j\ CONNMARK\ --restore-mark(\ --nfmask\ (0x[0-9a-f]+))? ]]; then
        mask=${BASH_REMATCH[2]:-0xffffffff}
      elif [[ $line == *' -j MARK '* ]]; then
        mask=0xffffffff
      fi
      [[ -n $mask ]] && ((mask & bit)) && return 0
    done <"$REPLY"
  done
  return 1
}

# <family>: adds to REPLACED the marks that are set in nft's own tables by rules at the priority of our rules or later.
find_marks_in_nft() {
  local line table='' priority=''
  if ! read_native_tables "$1"; then
    REPLACED=("${MARKS[@]}")
    return 0
  fi
  find_prerouting_chains
  while read -r line; do
    case $line in
      'table '*) table=${line% \{} ;;
      # A chain without a hook can be called by the other chains in its table.
      'chain '*) priority=${PREROUTING[$table]:-} ;;
      type*' hook prerouting priority '*) priority=${line#* priority } priority=${priority%%;*} ;;
      type*' hook '*) priority='' ;;
      *'mark set '* | *'"MARK"'* | *'"CONNMARK"'*)
        if [[ -n $priority ]] && ((priority >= 0)); then add_replaced_mark "$line"; fi
        ;;
    esac
  done <"$WORK/native"
}

# Sets PREROUTING from $WORK/native.
find_prerouting_chains() {
  local line table='' priority
  PREROUTING=()
  while read -r line; do
    case $line in
      'table '*) table=${line% \{} ;;
      type*' hook prerouting priority '*)
        priority=${line#* priority } priority=${priority%%;*}
        if ((priority >= ${PREROUTING[$table]:-$priority})); then PREROUTING[$table]=$priority; fi
        ;;
    esac
  done <"$WORK/native"
}

# <rule>
add_replaced_mark() {
  local bit=$((${steer_mark%/*})) rule=${1//meta mark/mark}
  # These rules keep our bit, or do not change the mark of the packet.
  if [[ $rule =~ (^|\ )mark\ set\ mark\ (&|and)\ (0x[0-9a-f]+)( comment .*)?$ ]]; then
    ((BASH_REMATCH[3] & bit)) && return
  elif [[ $rule =~ (^|\ )mark\ set\ mark\ (\||or|\^|xor)\ (0x[0-9a-f]+)( comment .*)?$ ]]; then
    ((BASH_REMATCH[3] & bit)) || return
  elif [[ $rule == *'ct mark set '* ]]; then
    return
  fi
  REPLACED=("${MARKS[@]}")
}

# <family>: writes the tables of nft to $WORK/native, except our own, kube-proxy's (which sets only its own bits), and
# those that are read through iptables. Fails if the tables cannot be read.
read_native_tables() {
  local family name own
  nft_family "$1"
  own=$REPLY
  : >"$WORK/native"
  # If nft is not installed, these tables cannot be read; prove_paths warns about that.
  has nft || return 0
  list_nft_tables || return
  while read -r _ family name; do
    [[ $family == "$own" || $family == inet ]] || continue
    is_native_table "$family" "$name" || continue
    read_native_table "$family" "$name" || return
    printf '%s\n' "${NATIVE_TEXTS[$family $name]}"
  done <<<"$NFT_TABLES" >"$WORK/native"
}

# <nft family> <table>: is the table neither ours nor read in another way?
is_native_table() {
  case $2 in
    peermasq | kube-proxy) return 1 ;;
    raw | mangle | nat | filter | security)
      if [[ $1 != inet ]] && is_installed iptables-nft; then return 1; fi
      ;;
  esac
}

# <nft family> <table>: reads the table into NATIVE_TEXTS. One process for each table: of several tables in one command,
# nft 1.0 finds only the last.
read_native_table() {
  [[ -z ${NATIVE_TEXTS[$1 $2]+known} ]] || return 0
  NATIVE_TEXTS[$1 $2]=$(exec nft -y -s -t list table "$1" "$2" 2>/dev/null)
}
