import { definedOnly } from '../../../../util/collections';
import { parseIpAddress } from '../../../ranges';
import type { JsonObject, JsonValue } from '../values';
import type { Cursor } from './tokens';

/** Reads a nat statement after its name: `ip to 10.0.0.1-10.0.0.9:80-90 fully-random,persistent`. */
export function readNat(cursor: Cursor, kind: string): JsonObject | undefined {
  const family = cursor.word(/^ip6?$/);
  const hasTo = cursor.skip('to');
  if (!hasTo && /^[sd]nat$/.test(kind)) return undefined;
  const target = hasTo ? readTarget(cursor) : {};
  if (!target || cursor.isNext('.') || cursor.isNext('map')) return undefined;
  const flags = readFlags(cursor);
  const body: JsonObject = definedOnly({ ...target, family, flags: flags.length === 0 ? undefined : flags });
  return { [kind]: Object.keys(body).length === 0 ? null : body };
}

function readFlags(cursor: Cursor): string[] {
  const flags: string[] = [];
  do {
    const flag = cursor.word(/^(?:random|fully-random|persistent)$/);
    if (flag === undefined) break;
    flags.push(flag);
  } while (cursor.skip(','));
  return flags;
}

function readTarget(cursor: Cursor): JsonObject | undefined {
  const token = cursor.peek();
  const target = token?.kind === 'word' ? parseTarget(token.text) : undefined;
  if (target) cursor.next();
  return target;
}

const portRange = String.raw`(?::(\d{1,5})(?:-(\d{1,5}))?)?`;
/** Addresses, or none, with ports: an IPv6 address has brackets if a port follows. */
const forms: readonly RegExp[] = [
  new RegExp(String.raw`^()()${portRange}$`),
  new RegExp(String.raw`^([\d.]+)(?:-([\d.]+))?${portRange}$`),
  new RegExp(String.raw`^\[([\da-f:.]+)\](?:-\[([\da-f:.]+)\])?${portRange}$`),
  /^([\da-f:.]+)(?:-([\da-f:.]+))?$/,
];

function parseTarget(text: string): JsonObject | undefined {
  for (const pattern of forms) {
    const [whole, first = '', last = '', port, lastPort] = pattern.exec(text) ?? [];
    const isAddress = (address: string) => address === '' || parseIpAddress(address) !== undefined;
    if (whole === undefined || !isAddress(first) || !isAddress(last)) continue;
    return definedOnly({
      addr: first === '' ? undefined : parseAddresses(first, last),
      port: port === undefined ? undefined : parsePorts(port, lastPort),
    });
  }
  return undefined;
}

const parseAddresses = (first: string, last: string): JsonValue =>
  last === '' ? first : { range: [first, last] };

const parsePorts = (first: string, last: string | undefined): JsonValue =>
  last === undefined ? Number(first) : { range: [Number(first), Number(last)] };
