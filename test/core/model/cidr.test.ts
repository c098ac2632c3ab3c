import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  aggregate,
  compareCidrs,
  contains,
  covers,
  overlaps,
  parseAddress,
  parseCidr,
  subtract,
  toCidr,
  type Cidr,
} from '../../../shared/core/model/cidr';

describe('parseCidr', () => {
  test.each([
    ['10.193.0.0/16', '10.193.0.0/16'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['10.193.0.3/32', '10.193.0.3/32'],
    ['FD00:0:0::/48', 'fd00::/48'],
    ['2001:db8:0:0:1:0:0:0/80', '2001:db8:0:0:1::/80'],
    ['::/0', '::/0'],
  ])('parses %s and prints %s', (text, printed) => {
    expect(parseCidr(text).text).toBe(printed);
  });

  test.each([
    ['10.193.0.1/16', 'it has host bits set; the network is 10.193.0.0/16'],
    ['fd00::1/64', 'it has host bits set; the network is fd00::/64'],
    ['10.193.0.0', 'expected ADDRESS/PREFIX'],
    ['10.193.0.0/', 'expected ADDRESS/PREFIX'],
    ['10.193.0.0/016', 'expected ADDRESS/PREFIX'],
    ['10.193.0.0/16/16', 'expected ADDRESS/PREFIX'],
    ['10.193.0.0/+16', 'expected ADDRESS/PREFIX'],
    ['/16', 'expected ADDRESS/PREFIX'],
    ['', 'expected ADDRESS/PREFIX'],
    ['fe80::%eth0/64', 'expected ADDRESS/PREFIX'],
    ['10.193.0.0/33', 'expected a prefix length of at most 32 for IPv4'],
    ['fd00::/129', 'expected a prefix length of at most 128 for IPv6'],
    ['010.193.0.0/16', 'expected an IPv4 or IPv6 address before the slash'],
    ['0x0a.193.0.0/16', 'expected an IPv4 or IPv6 address before the slash'],
    ['10.193/16', 'expected an IPv4 or IPv6 address before the slash'],
    ['10.193.0.0\n/16', 'expected an IPv4 or IPv6 address before the slash'],
    ['::ffff:10.0.0.0/104', 'it is IPv4 in IPv6 notation'],
    ['::a00:0/104', 'it is IPv4 in IPv6 notation'],
    ['$(reboot)/16', 'expected an IPv4 or IPv6 address before the slash'],
    ['1::2::3/64', 'expected an IPv4 or IPv6 address before the slash'],
  ])('rejects %j: %s', (text, message) => {
    expect(() => parseCidr(text)).toThrow(message);
  });
});

test.each([
  ['10.0.0.0/8', '10.193.0.0/16', true],
  ['10.193.0.0/16', '10.0.0.0/8', false],
  ['10.193.0.0/16', '10.193.0.0/16', true],
  ['10.192.0.0/16', '10.193.0.0/16', false],
  ['0.0.0.0/0', 'fd00::/8', false],
  ['fd00::/8', 'fd12::/16', true],
])('%s covers %s: %s', (outer, inner, expected) => {
  expect(covers(parseCidr(outer), parseCidr(inner))).toBe(expected);
});

test.each([
  ['10.193.0.0/16', '10.193.0.0', true],
  ['10.193.0.0/16', '10.193.255.255', true],
  ['10.193.0.0/16', '10.194.0.0', false],
  ['10.193.0.0/16', '10.192.255.255', false],
  ['0.0.0.0/0', 'fd00::1', false],
  ['fd00::/8', 'fdff::1', true],
])('%s contains %s: %s', (range, address, expected) => {
  expect(contains(parseCidr(range), parseAddress(address))).toBe(expected);
});

test.each([
  ['10.193.0.3', '10.193.0.3', '10.193.0.3/32'],
  ['FD00:0:0::1', 'fd00::1', 'fd00::1/128'],
])('parseAddress parses %s and prints %s', (text, printed, range) => {
  const address = parseAddress(text);
  expect(address.text).toBe(printed);
  expect(toCidr(address).text).toBe(range);
});

test.each([
  ['10.0.0.0/8', [], ['10.0.0.0/8']],
  ['10.0.0.0/8', ['11.0.0.0/8'], ['10.0.0.0/8']],
  ['10.0.0.0/8', ['10.0.0.0/7'], []],
  ['10.0.0.0/8', ['10.128.0.0/9'], ['10.0.0.0/9']],
  ['10.0.0.0/29', ['10.0.0.3/32'], ['10.0.0.0/31', '10.0.0.2/32', '10.0.0.4/30']],
  ['10.0.0.0/30', ['10.0.0.0/31', '10.0.0.2/31'], []],
  ['fd00::/126', ['fd00::1/128'], ['fd00::/128', 'fd00::2/127']],
])('%s without %j is %j', (from, removed, left) => {
  expect(subtract(parseCidr(from), removed.map(parseCidr)).map(({ text }) => text)).toEqual(left);
});

test('aggregate records the entries from which each range was merged', () => {
  const requests = [
    { cidr: parseCidr('10.1.0.0/16'), name: 'b' },
    { cidr: parseCidr('10.0.0.0/16'), name: 'a' },
    { cidr: parseCidr('10.1.7.0/24'), name: 'c' },
    { cidr: parseCidr('10.3.0.0/16'), name: 'd' },
  ];
  expect(aggregate(requests).map(({ cidr, from }) => [cidr.text, from.map(({ name }) => name)])).toEqual([
    ['10.0.0.0/15', ['a', 'b', 'c']],
    ['10.3.0.0/16', ['d']],
  ]);
});

/** Generates ranges inside 10.0.0.0/24 and fd00::/120, which are small enough to enumerate every address. */
const smallCidr = fc
  .tuple(
    fc.constantFrom(4 as const, 6 as const),
    fc.integer({ min: 0, max: 255 }),
    fc.integer({ min: 0, max: 8 }),
  )
  .map(([family, last, hostBits]) => {
    const first = (last >> hostBits) << hostBits;
    return family === 4
      ? parseCidr(`10.0.0.${first}/${32 - hostBits}`)
      : parseCidr(`fd00::${first.toString(16)}/${128 - hostBits}`);
  });

const addresses = (cidrs: readonly Cidr[]): Set<string> =>
  new Set(
    cidrs.flatMap(({ family, first, prefix }) =>
      Array.from(
        { length: 2 ** ((family === 4 ? 32 : 128) - prefix) },
        (_, index) => `${family}:${first + BigInt(index)}`,
      ),
    ),
  );

describe('CIDR arithmetic, compared with sets of single addresses:', () => {
  test('subtract removes exactly the given ranges', () => {
    fc.assert(
      fc.property(smallCidr, fc.array(smallCidr, { maxLength: 6 }), (from, removed) => {
        const gone = addresses(removed);
        const expected = [...addresses([from])].filter((address) => !gone.has(address));
        expect([...addresses(subtract(from, removed))]).toEqual(expected);
      }),
    );
  });

  test('aggregate covers the same addresses with ranges that are disjoint, sorted, and cannot be merged further', () => {
    fc.assert(
      fc.property(fc.array(smallCidr, { maxLength: 12 }), (cidrs) => {
        const result = aggregate(cidrs.map((cidr) => ({ cidr })));
        const ranges = result.map(({ cidr }) => cidr);
        expect(addresses(ranges)).toEqual(addresses(cidrs));
        expect(ranges.toSorted(compareCidrs)).toEqual(ranges);
        expect(ranges.some((a, i) => ranges.some((b, j) => i !== j && overlaps(a, b)))).toBe(false);
        expect(aggregate(result).map(({ cidr }) => cidr.text)).toEqual(ranges.map(({ text }) => text));
        expect(result.flatMap(({ from }) => from)).toHaveLength(cidrs.length);
      }),
    );
  });

  test('parseCidr parses its own output', () => {
    fc.assert(
      fc.property(smallCidr, (cidr) => {
        expect(parseCidr(cidr.text)).toEqual(cidr);
      }),
    );
  });
});
