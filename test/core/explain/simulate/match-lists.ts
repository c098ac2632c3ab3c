/** iptables matches that a packet from the pod to the peer satisfies. */
export const matching = [
  '-s 10.132.0.0/14',
  '-d 10.193.0.3/32',
  '-o eth0',
  '-o eth+',
  '-p tcp',
  '-p tcp -m tcp --dport 443',
  '-p tcp -m tcp --sport 32768:65535',
  '-p tcp -m multiport --dports 80,443',
  '-p tcp -m multiport --ports 400:500',
  '-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN',
  '-m mark --mark 0x0/0x4000',
  '-m connmark --mark 0x0',
  '-m addrtype --dst-type UNICAST',
  '-m addrtype --dst-type UNICAST --limit-iface-out',
  '-m conntrack --ctstate NEW',
  '-m state --state NEW,ESTABLISHED',
  '-m iprange --dst-range 10.193.0.1-10.193.0.9',
  '-m set --match-set peers dst',
  '-m set --match-set services dst,dst',
  '-m set --match-set both dst',
] as const;

/** Every packet satisfies this match, but iptables cannot negate it. */
export const certain = '-m statistic --mode random --probability 1.00000000000';

export const undecidable = [
  '-m statistic --mode random --probability 0.50000000000',
  '-m limit --limit 3/sec',
  '-m owner --uid-owner 0',
  '-m set --match-set absent dst',
  '-m physdev --physdev-is-bridged',
] as const;

/** Returns the match with its last option negated. */
export function negate(match: string): string {
  const tokens = match.split(' ');
  const option = tokens.findLastIndex((token) => token.startsWith('-') && !token.startsWith('--limit-iface'));
  return [...tokens.slice(0, option), '!', ...tokens.slice(option)].join(' ');
}

/** The sets that the matches refer to, as ipset prints them. */
export const sets = `create peers hash:net family inet hashsize 1024 maxelem 65536
add peers 10.193.0.0/16
add peers 10.193.9.0/24 nomatch
create services hash:ip,port family inet
add services 10.193.0.3,tcp:443
create both list:set size 8
add both peers
`;
