import type { Address } from '../../model/cidr';
import type { Family } from '../model';
import { contains, prefixRange } from '../ranges';
import type { InterfaceAddress, Snapshot } from '../snapshot';

interface AddressQuery {
  readonly family: Family;
  readonly address: bigint;
  /** Limits the lookup to this interface. If undefined, the addresses of all interfaces are searched. */
  readonly device?: string | undefined;
}

const loopback4 = prefixRange(4, 127n << 24n, 8);

/** Whether the node itself has the address. Undefined if the dump contains no addresses. */
export function isLocal(
  { addresses }: Snapshot,
  { family, address, device }: AddressQuery,
): boolean | undefined {
  if (family === 4 && contains([loopback4], address)) return device === undefined || device === 'lo';
  if (addresses.length === 0) return undefined;
  return addresses.some((own) => own.family === family && own.address === address && isOnDevice(own, device));
}

/** Whether the address is known to be one of the node's own, so that the node itself sends packets with it. */
export const isOwnAddress = (snapshot: Snapshot, { family, value }: Address): boolean =>
  isLocal(snapshot, { family, address: value }) === true;

const isOnDevice = (own: InterfaceAddress, device: string | undefined) =>
  device === undefined || own.device === device;

/**
 * Whether the address is a broadcast address. As in the kernel's table `local`, that includes the last address of
 * each IPv4 subnet and the address after `brd`.
 */
export function isBroadcast(
  { addresses }: Snapshot,
  { family, address, device }: AddressQuery,
): boolean | undefined {
  if (family === 6) return false;
  if (address === 0xffffffffn || address >> 24n === 0n) return true;
  if (addresses.length === 0) return undefined;
  return addresses.some(
    (own) =>
      own.family === 4 &&
      isOnDevice(own, device) &&
      own.prefix < 31 &&
      (own.broadcast === address || prefixRange(4, own.address, own.prefix).last === address),
  );
}

export function isMulticast(family: Family, address: bigint): boolean {
  return family === 4 ? address >> 28n === 0xen : address >> 120n === 0xffn;
}

interface EgressQuery {
  readonly family: Family;
  /** Undefined if the interface is unknown. */
  readonly device: string | undefined;
  /** Undefined if the next hop is unknown. */
  readonly nextHop: bigint | undefined;
}

/**
 * Returns the addresses that MASQUERADE may choose, as the kernel's inet_select_addr does (net/ipv4/devinet.c): the
 * device's first primary address whose subnet contains the next hop, otherwise the device's first primary address,
 * otherwise an address of another device. For IPv6 (RFC 6724), every global address of the device is a candidate. If the
 * device is unknown, so is every address.
 * @returns an empty list if the addresses are unknown
 */
export function masqueradeSources(
  { addresses }: Snapshot,
  { family, device, nextHop }: EgressQuery,
): bigint[] {
  const usable = addresses.filter(
    (own) => own.family === family && !own.isSecondary && own.scope === 'global',
  );
  // `ip addr` in part may not show the interface of an address.
  if (usable.some((own) => own.device === '')) return [];
  const addressesOf = (list: readonly InterfaceAddress[]) => list.map(({ address }) => address);
  if (device === undefined) return addressesOf(usable);
  const onDevice = usable.filter((own) => own.device === device);
  if (onDevice.length === 0) return family === 4 ? addressesOf(usable.slice(0, 1)) : [];
  if (family === 6 || nextHop === undefined) return addressesOf(onDevice);
  const sameSubnet = onDevice.filter((own) => contains([prefixRange(4, own.address, own.prefix)], nextHop));
  return addressesOf([...sameSubnet, ...onDevice].slice(0, 1));
}
