import { itemAfter } from '../../../util/collections';
import { DumpError } from '../../model';
import { addressBits, parseIpAddress } from '../../ranges';
import type { InterfaceAddress } from '../../snapshot';

/** `veth1@if2` → `veth1` */
export const stripPeer = (device: string): string => device.split('@')[0] ?? device;

export interface NamedInterface {
  readonly device: string;
  /** The bridge, bond or VRF that the interface belongs to. */
  readonly master: string | undefined;
}

/** Parses the first line of an interface in `ip addr`: `2: eth0: <BROADCAST,UP> mtu 1500 … master cbr0 state UP`. */
export function parseInterface(text: string): NamedInterface | undefined {
  const [, device, options = ''] = /^\s*\d+: (\S+): <[^>]*>(.*)$/.exec(text) ?? [];
  if (device === undefined) return undefined;
  return { device: stripPeer(device), master: itemAfter(options.split(/\s+/), 'master') };
}

/** Whether the line of `ip addr` is about an interface, but is not an address. */
export const isLinkDetail = (text: string): boolean =>
  /^\s*(link\/|valid_lft |altname |alias |vrf |RX:|TX:)/.test(text);

export const isAddressLine = (text: string): boolean => /^\s*(\d+: \S+\s+)?inet6? \S/.test(text);

/**
 * Parses one address of `ip addr`, with or without `-o`: `2: eth0    inet 10.209.0.2/16 scope global eth0`.
 * @param current the interface of the last line that names one
 */
export function parseInterfaceAddress(
  { text, number }: { text: string; number: number },
  current: string | undefined,
): InterfaceAddress {
  const words = text.trim().split(/\s+/);
  const device = /^\d+:$/.test(words[0] ?? '') ? words.splice(0, 2)[1] : undefined;
  const [, address = '', ...options] = words;
  const [own = '', ownPrefix] = address.split('/');
  // On a point-to-point link (`inet 10.0.0.1 peer 10.0.0.2/32`), the prefix length follows the peer's address.
  const prefix = ownPrefix ?? itemAfter(options, 'peer')?.split('/')[1];
  const parsed = parseIpAddress(own);
  const length = Number(prefix ?? (parsed && addressBits(parsed.family)));
  if (!parsed || !(length >= 0 && length <= addressBits(parsed.family))) {
    throw new DumpError({
      line: number,
      found: text,
      expected: 'an address with its prefix length, as printed by ip addr',
    });
  }
  return {
    device: stripPeer(device ?? current ?? labelOf(options)),
    family: parsed.family,
    address: parsed.address,
    prefix: length,
    isSecondary: options.includes('secondary') || options.includes('temporary'),
    scope: itemAfter(options, 'scope') ?? 'global',
    broadcast: parseIpAddress(itemAfter(options, 'brd') ?? '')?.address,
  };
}

/**
 * Returns the interface from an IPv4 address's label, such as `eth0:1`. An IPv6 address has no label, so the result is
 * empty.
 */
function labelOf(options: readonly string[]): string {
  const [, label = ''] = /scope \S+(?: [a-z]+)*? (\S+)$/.exec(options.join(' ')) ?? [];
  return addressFlags.has(label) ? '' : (label.split(':')[0] ?? '');
}

const addressFlags = new Set([
  'dynamic',
  'secondary',
  'deprecated',
  'tentative',
  'noprefixroute',
  'mngtmpaddr',
]);
