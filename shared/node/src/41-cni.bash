# --- The VPC CNI's own masquerading ---
# The VPC CNI masquerades pods' packets that leave the VPC with the node's address. It also sets its mark 0x80, which
# makes packets leave through the primary interface. If its rules already cover all our destinations, we leave the
# masquerading to them. Only rules in the form that the VPC CNI writes are understood (aws/amazon-vpc-cni-k8s,
# pkg/networkutils/network.go). If its chains contain any other rule, we use our own rules.

# The rules in the VPC CNI's chains and the jumps to these chains, without comments.
CNI_RULES=()
readonly cni_snat='^( ! -o vlan\+)?( -m addrtype ! --dst-type LOCAL)? -j SNAT --to-source ([0-9.]+)( --random(-fully)?)?$'
readonly max_cni_destinations=256

# <family>: sets CNI_RULES and LEFT. Sets RANDOM_FULLY if rules of other programs select random ports.
find_cni_masquerading() {
  local i own address='' left=0
  CNI_RULES=()
  [[ $BACKEND == iptables-* ]] || return
  read_cni_rules "$1" || return
  ((${COUNT[masquerade $1]} <= max_cni_destinations)) || return
  for ((i = 0; i < ${#KINDS[@]}; i++)); do
    [[ ${KINDS[i]} == masquerade && ${FAMILIES[i]} == "$1" ]] || continue
    cni_sets_mark "${CIDRS[i]}" || continue
    cni_verdict AWS-SNAT-CHAIN-0 "${CIDRS[i]}" || continue
    left=$((left + 1)) address=$REPLY
  done
  ((left == ${COUNT[masquerade $1]})) || return
  for own in ${OWN_ADDRESSES[@]+"${OWN_ADDRESSES[@]}"}; do
    [[ $own == "$address" ]] || return
  done
  LEFT[$1]=$address
}

# <family>: sets CNI_RULES, and RANDOM_FULLY. Fails if the rules cannot be read, or if the CNI masquerades nothing.
read_cni_rules() {
  local rule
  find_rules_after "$BACKEND" "$1" nat POSTROUTING || return
  for rule in ${REACHED[@]+"${REACHED[@]}"}; do
    if [[ $rule == *random* ]]; then inherit_random_ports "$rule"; fi
    add_cni_rule "$rule"
  done
  has_cni_rule '-A POSTROUTING -j AWS-SNAT-CHAIN-0' || return
  # This hook also leads to the chains of kube-proxy. Some nodes have thousands of them, so only AWS's chains are read.
  find_rules_after "$BACKEND" "$1" nat PREROUTING AWS- || return
  for rule in ${REACHED[@]+"${REACHED[@]}"}; do add_cni_rule "$rule"; done
  return 0
}

# <rule>: adds the rule to CNI_RULES, without comments, if it belongs to the VPC CNI.
add_cni_rule() {
  local rule=$1 comment='^(.*) -m comment --comment ("[^"]*"|[^" ]+)(.*)$'
  [[ $rule == '-A AWS-'* || $rule == '-A P'*'ROUTING '* ]] || return
  while [[ $rule =~ $comment ]]; do rule=${BASH_REMATCH[1]}${BASH_REMATCH[3]}; done
  if [[ $rule == *'AWS-'* || $rule == '-A PREROUTING -j CONNMARK '* ]]; then CNI_RULES+=("$rule"); fi
}

# <rule>: sets RANDOM_FULLY if the rule selects random ports and may have masqueraded the packets that our rules now
# masquerade. Their ports then stay random. The rule that kube-proxy adds on every node is skipped, because it applies
# only to connections to Services.
inherit_random_ports() {
  case $1 in
    'nft '*masquerade*random* | 'nft '*'snat to '*random*) RANDOM_FULLY=yes ;;
  esac
  [[ $1 == '-A '*' -j SNAT '* || $1 == '-A '*' -j MASQUERADE '* ]] || return
  [[ $1 != '-A KUBE-'* && $1 != '-A PEERMASQ '* ]] || return
  may_match_pods "$1" || return
  RANDOM_FULLY=yes
}

# <family>: sets RANDOM_FULLY if a rule in nft's own tables selects random ports, regardless of what it matches.
inherit_random_ports_from_nft() {
  local line
  [[ -z $RANDOM_FULLY ]] || return
  read_native_tables "$1" || return
  while read -r line; do
    case $line in
      *masquerade*random* | *'snat to '*random*) RANDOM_FULLY=yes ;;
    esac
  done <"$WORK/native"
}

# <rule>
has_cni_rule() {
  local rule
  for rule in ${CNI_RULES[@]+"${CNI_RULES[@]}"}; do
    [[ $rule == "$1" ]] && return 0
  done
  return 1
}

# <cidr>: does the CNI mark pods' packets to this destination?
cni_sets_mark() {
  local rule jump='^-A PREROUTING -i eni\+( -m (state --state|conntrack --ctstate) NEW)? -j AWS-CONNMARK-CHAIN-0$'
  has_cni_rule '-A PREROUTING -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80' || return 1
  for rule in "${CNI_RULES[@]}"; do
    if [[ $rule =~ $jump ]]; then
      cni_verdict AWS-CONNMARK-CHAIN-0 "$1" || return
      [[ $REPLY == mark ]]
      return
    fi
  done
  return 1
}

# <chain> <cidr>: REPLY is what the chain does with all packets to this destination: the source address that it sets, or
# "mark" if it marks them. Fails if the chain returns some of the packets, or has a rule in another form.
cni_verdict() {
  local rule range next returns='^ -d ([^ ]+) -j RETURN$' unless='^ ! -d ([^ ]+) -j (AWS-[A-Z0-9-]+)$'
  for rule in ${CNI_RULES[@]+"${CNI_RULES[@]}"}; do
    [[ $rule == "-A $1 "* ]] || continue
    rule=${rule#"-A $1"}
    if [[ $rule =~ $returns ]]; then
      range=${BASH_REMATCH[1]} next=''
    elif [[ $rule =~ $unless ]]; then
      range=${BASH_REMATCH[1]} next=${BASH_REMATCH[2]}
    elif [[ $rule =~ $cni_snat ]]; then
      REPLY=${BASH_REMATCH[3]}
      return 0
    elif [[ $rule == ' -j CONNMARK --set-xmark 0x80/0x80' ]]; then
      REPLY=mark
      return 0
    else
      return 1
    fi
    ranges_overlap "$range" "$2" && return 1
    if [[ -n $next ]]; then
      cni_verdict "$next" "$2"
      return
    fi
  done
  return 1
}

# <cidr> <cidr>: do the two ranges overlap? Also true if one of them cannot be parsed.
ranges_overlap() {
  local family hi lo length
  parse_cidr "$1" || return 0
  family=$FAMILY hi=$HI lo=$LO length=$LENGTH
  parse_cidr "$2" || return 0
  if ((length > LENGTH)); then length=$LENGTH; fi
  ((family == FAMILY && (hi & MASK_HI[length]) == (HI & MASK_HI[length]) && (lo & MASK_LO[length]) == (LO & MASK_LO[length])))
}
