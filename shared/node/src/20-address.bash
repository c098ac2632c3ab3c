# --- Addresses ---
# An address is stored as two 64-bit words, HI and LO. IPv4 uses the upper half of HI, so both families share the
# arithmetic. A rule set may have 10,000 lines, so this code prefers globs to regular expressions and makes few function
# calls.

# The results of the parse functions. They are not returned in REPLY, because splitting REPLY would double the time.
FAMILY=0 HI=0 LO=0 LENGTH=0
# Network masks by prefix length. IPv4 uses only the first 33.
MASK_HI=() MASK_LO=()
for ((LENGTH = 0; LENGTH <= 128; LENGTH++)); do
  MASK_HI+=($((LENGTH == 0 ? 0 : LENGTH >= 64 ? -1 : -1 << (64 - LENGTH))))
  MASK_LO+=($((LENGTH <= 64 ? 0 : -1 << (128 - LENGTH))))
done

# <address>: sets FAMILY, HI and LO. Fails if the text is not in canonical form (RFC 5952 for IPv6).
parse_address() {
  if [[ $1 == *:* ]]; then
    parse_ipv6 "$1"
    return
  fi
  local IFS=.
  FAMILY=4 LO=0
  [[ $1 != *[!0-9.]* && .$1. != *.0[0-9]* && .$1. != *..* && $1 != *[0-9][0-9][0-9][0-9]* ]] || return 1
  # shellcheck disable=SC2086 # split on purpose; set -f keeps the words as they are
  set -- $1
  (($# == 4)) || return 1
  (($1 <= 255 && $2 <= 255 && $3 <= 255 && $4 <= 255)) || return 1
  HI=$((($1 << 24 | $2 << 16 | $3 << 8 | $4) << 32))
}

# <address>: does the work of parse_address for an IPv6 address.
parse_ipv6() {
  local text=$1 parts rest=() IFS=:
  FAMILY=6
  [[ $text != *[!0-9a-f:]* && $text != *[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]* && $text != *:::* ]] || return 1
  # shellcheck disable=SC2206 # split on purpose; the comparison at the end rejects non-canonical text
  parts=(${text%%::*})
  if [[ $text == *::* ]]; then
    # shellcheck disable=SC2206 # as above
    rest=(${text#*::})
    while ((${#parts[@]} + ${#rest[@]} < 8)); do parts+=(0); done
    parts+=(${rest[@]+"${rest[@]}"})
  fi
  ((${#parts[@]} == 8)) || return 1
  HI=$((16#0${parts[0]} << 48 | 16#0${parts[1]} << 32 | 16#0${parts[2]} << 16 | 16#0${parts[3]}))
  LO=$((16#0${parts[4]} << 48 | 16#0${parts[5]} << 32 | 16#0${parts[6]} << 16 | 16#0${parts[7]}))
  print_ipv6
  [[ $REPLY == "$text" ]]
}

# REPLY: the address in FAMILY, HI and LO as text.
print_address() {
  if ((FAMILY == 6)); then
    print_ipv6
  else
    printf -v REPLY '%d.%d.%d.%d' $((HI >> 56 & 255)) $((HI >> 48 & 255)) $((HI >> 40 & 255)) $((HI >> 32 & 255))
  fi
}

# REPLY: the IPv6 address in HI and LO in canonical form, where "::" replaces the first of the longest runs of zeros.
print_ipv6() {
  local text zeros
  printf -v text ':%x:%x:%x:%x:%x:%x:%x:%x:' $((HI >> 48 & 65535)) $((HI >> 32 & 65535)) $((HI >> 16 & 65535)) \
    $((HI & 65535)) $((LO >> 48 & 65535)) $((LO >> 32 & 65535)) $((LO >> 16 & 65535)) $((LO & 65535))
  for zeros in 0:0:0:0:0:0:0:0 0:0:0:0:0:0:0 0:0:0:0:0:0 0:0:0:0:0 0:0:0:0 0:0:0 0:0; do
    if [[ $text == *:$zeros:* ]]; then
      text=${text/:$zeros:/::}
      break
    fi
  done
  if [[ $text != ::* ]]; then text=${text#:}; fi
  if [[ $text != *:: ]]; then text=${text%:}; fi
  REPLY=$text
}

# <cidr>: sets FAMILY, HI, LO and LENGTH. Fails with ERROR if the CIDR is invalid.
parse_cidr() {
  LENGTH=${1#*/}
  if [[ $1 != */* || $LENGTH != [1-9]* || $LENGTH == *[!0-9]* || ${#LENGTH} -gt 3 ]] ||
    ! parse_address "${1%%/*}" || ((LENGTH > (FAMILY == 4 ? 32 : 128))); then
    error 'invalid CIDR: expected the canonical form, e.g. 10.193.0.0/16 or fd00:1::/32'
  elif ((HI != (HI & MASK_HI[LENGTH]) || LO != (LO & MASK_LO[LENGTH]))); then
    error 'host bits set: expected the first address of the range'
  elif ((FAMILY == 6 && HI == 0 && LENGTH > 64 && (LO >> 32 == 0 || LO >> 32 == 65535))); then
    # ip, nft and iptables print the IPv4 part with dots, so the text that is read back would differ from the text that
    # was written.
    error 'IPv4 inside IPv6: expected the IPv4 CIDR'
  fi
}

# <cidr>: fails with ERROR if the CIDR overlaps a reserved range or is the address of a cloud service. The CIDR must be
# the one that parse_cidr parsed last.
check_destination() {
  local i length
  # For most ranges, the first octet already rules out an overlap.
  if ((FAMILY == 4 && LENGTH >= 8)) && [[ $reserved_octets != *" $((HI >> 56 & 255)) "* ]]; then return 0; fi
  for ((i = 0; i < ${#reserved[@]}; i++)); do
    ((reserved_families[i] == FAMILY)) || continue
    length=${reserved[i]#*/}
    if ((length > LENGTH)); then length=$LENGTH; fi
    if ((((HI ^ (reserved_words[i] << 48)) & MASK_HI[length]) == 0)); then
      error "overlaps the reserved range ${reserved[i]}: expected a range that a peer can use"
      return 1
    fi
  done
  if ((FAMILY == 6 && LENGTH == 128)) && [[ " ${cloud_services[*]}" == *" $1 "* ]]; then
    error 'is the address of a cloud service on the node: expected a range that a peer can use'
  fi
}
