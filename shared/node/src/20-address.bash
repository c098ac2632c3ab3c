# --- Addresses ---
# An address is two 64-bit words, HI and LO; IPv4 uses the upper half of HI, so one arithmetic serves both.
# Globs instead of regular expressions, and few calls: 10,000 lines pass through here.

FAMILY=0 HI=0 LO=0 LENGTH=0
# By prefix length; IPv4 uses the first 33.
MASK_HI=() MASK_LO=()
for ((LENGTH = 0; LENGTH <= 128; LENGTH++)); do
  MASK_HI+=($((LENGTH == 0 ? 0 : LENGTH >= 64 ? -1 : -1 << (64 - LENGTH))))
  MASK_LO+=($((LENGTH <= 64 ? 0 : -1 << (128 - LENGTH))))
done

# Sets FAMILY, HI and LO. Fails unless the text is a canonical address (RFC 5952 for IPv6).
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
  (($# == 4)) && (($1 <= 255 && $2 <= 255 && $3 <= 255 && $4 <= 255)) && HI=$((($1 << 24 | $2 << 16 | $3 << 8 | $4) << 32))
}

parse_ipv6() {
  local text=$1 parts rest=() IFS=:
  FAMILY=6
  [[ $text != *[!0-9a-f:]* && $text != *[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]* && $text != *:::* ]] || return 1
  # shellcheck disable=SC2206 # as above; what is not canonical is found by printing it again
  parts=(${text%%::*})
  if [[ $text == *::* ]]; then
    # shellcheck disable=SC2206
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

# REPLY: HI and LO in canonical text: no leading zeros, "::" for the first longest run of two zeros or more.
print_ipv6() {
  local text zeros
  printf -v text ':%x:%x:%x:%x:%x:%x:%x:%x:' $((HI >> 48 & 65535)) $((HI >> 32 & 65535)) $((HI >> 16 & 65535)) \
    $((HI & 65535)) $((LO >> 48 & 65535)) $((LO >> 32 & 65535)) $((LO >> 16 & 65535)) $((LO & 65535))
  for zeros in 0:0:0:0:0:0:0:0 0:0:0:0:0:0:0 0:0:0:0:0:0 0:0:0:0:0 0:0:0:0 0:0:0 0:0; do
    [[ $text == *:$zeros:* ]] && text=${text/:$zeros:/::} && break
  done
  [[ $text == ::* ]] || text=${text#:}
  [[ $text == *:: ]] || text=${text%:}
  REPLY=$text
}

# Sets FAMILY, HI, LO and LENGTH, or FAULT to what is wrong with the CIDR.
parse_cidr() {
  FAULT='is not a canonical CIDR, e.g. 10.193.0.0/16 or fd00:1::/32'
  LENGTH=${1#*/}
  [[ $1 == */* && $LENGTH == [1-9]* && $LENGTH != *[!0-9]* && ${#LENGTH} -le 3 ]] || return 1
  parse_address "${1%%/*}" && ((LENGTH <= (FAMILY == 4 ? 32 : 128))) || return 1
  FAULT='has host bits set; accepted is the first address of the range'
  ((HI == (HI & MASK_HI[LENGTH]) && LO == (LO & MASK_LO[LENGTH]))) || return 1
  # The kernel's tools print these with dots, so what is read back would not be what was meant.
  FAULT='is IPv4 inside IPv6; accepted is the IPv4 CIDR'
  ((FAMILY == 4 || HI != 0 || LENGTH <= 64 || LO >> 32 != 0 && LO >> 32 != 65535))
}

# Ranges that never lie behind a peering. Masquerading to link-local would give every pod the node's own
# credentials at the metadata server. ::/64 holds ::1 and IPv4 inside IPv6.
readonly reserved=(0.0.0.0/8 127.0.0.0/8 169.254.0.0/16 224.0.0.0/4 240.0.0.0/4 ::/64 fe80::/10 ff00::/8)
readonly reserved_words=(0 0x7f 0xa9fe 0xe0 0xf0 0 0xfe80 0xff00) reserved_shifts=(0 56 48 56 56 0 48 48)

# Fails, with FAULT, where the CIDR just parsed is, lies in or contains a reserved range.
may_be_destination() {
  local i first=0 last=4 length
  # The common case at once: a range of a /16 or less, by its first octets.
  ((FAMILY == 4 && LENGTH >= 16)) && case $((HI >> 56 & 255)) in 0 | 127 | 169 | 22[4-9] | 2[345]?) ;; *) return 0 ;; esac
  ((FAMILY == 4)) || first=5 last=7
  for ((i = first; i <= last; i++)); do
    length=${reserved[i]#*/}
    ((length < LENGTH)) || length=$LENGTH
    FAULT="overlaps ${reserved[i]}; accepted are ranges that a peering can reach"
    ((((HI ^ reserved_words[i] << reserved_shifts[i]) & MASK_HI[length]) != 0)) || return 1
  done
}

