import { contains, covers, overlaps, parseCidr, type Address, type Cidr } from './cidr';

/**
 * Ranges that no rule may masquerade to (IANA special-purpose registries, RFC 6890). The node program does not trust
 * its input, so it checks the ranges again. infra/write-reserved.ts generates the node program's list from this list.
 */
export const reserved = (
  [
    ['0.0.0.0/8', 'this host'],
    ['127.0.0.0/8', 'loopback'],
    ['169.254.0.0/16', 'link-local, used by metadata servers'],
    ['224.0.0.0/4', 'multicast'],
    ['240.0.0.0/4', 'reserved and broadcast'],
    ['::/64', 'loopback, and IPv4 in IPv6'],
    ['fe80::/10', 'link-local'],
    ['ff00::/8', 'multicast'],
  ] as const
).map(([text, reason]) => ({ cidr: parseCidr(text), reason }));

/**
 * Services that the clouds provide on each node, at addresses that are link-local in IPv4 and unique local in IPv6. No
 * rule may masquerade to them either. Unlike reserved ranges, these addresses may be inside a destination; they are
 * then exempt. The node program uses the same list.
 *
 * Sources: AWS whitepaper "IPv6 on AWS", "Supporting Amazon VPC services" (123, 253, 254); Amazon EKS user guide, "Set
 * up the Amazon EKS Pod Identity Agent" (23); aws/amazon-ssm-agent README, DeniedPortForwardingRemoteIPs (250);
 * GoogleCloudPlatform/cloud-image-tests, test_suites/nicsetup/nicsetup_host_linux_test.go (fd20:ce::254).
 */
export const cloudServices = (
  [
    ['fd00:ec2::23/128', 'eks-pod-identity', 'EKS Pod Identity agent'],
    ['fd00:ec2::123/128', 'ec2-ntp', 'EC2 time server'],
    ['fd00:ec2::250/128', 'ec2-activation', 'EC2 Windows activation'],
    ['fd00:ec2::253/128', 'ec2-dns', 'EC2 DNS resolver'],
    ['fd00:ec2::254/128', 'ec2-metadata', 'EC2 instance metadata'],
    ['fd20:ce::254/128', 'gce-metadata', 'Google Cloud metadata server'],
  ] as const
).map(([text, name, reason]) => ({ cidr: parseCidr(text), name, reason }));

/** Returns the reserved range that contains the address. Packets to a reserved range are never masqueraded. */
export const reservedRangeOf = (
  address: Address,
): { readonly cidr: Cidr; readonly reason: string } | undefined =>
  [...reserved, ...cloudServices].find(({ cidr }) => contains(cidr, address));

/**
 * Returns the reason why the range cannot be a destination, as the end of a sentence that starts with "it". Undefined
 * if it can.
 */
export function reservedReason(cidr: Cidr): string | undefined {
  if (cidr.prefix === 0) return 'contains every address';
  const match =
    reserved.find((entry) => overlaps(entry.cidr, cidr)) ??
    cloudServices.find((entry) => covers(entry.cidr, cidr));
  if (!match) return undefined;
  return `${covers(match.cidr, cidr) ? 'is inside' : 'contains'} ${match.cidr.text} (${match.reason})`;
}

const rfc1918 = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'].map(parseCidr);

/** Whether an IPv4 range contains addresses outside the private ranges of RFC 1918. */
export const overlapsNonRfc1918 = (range: Cidr): boolean =>
  range.family === 4 && !rfc1918.some((outer) => covers(outer, range));

/** The internal ranges of RFC 1918, RFC 6598, RFC 2544, RFC 1112 and RFC 4193. */
const internal = [
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '198.18.0.0/15',
  '240.0.0.0/4',
  'fc00::/7',
].map(parseCidr);

/** Whether the address cannot be on the public internet. */
export const isInternal = (address: Address): boolean => internal.some((range) => contains(range, address));
export const isInternalRange = (range: Cidr): boolean => internal.some((outer) => covers(outer, range));
