import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Address6 } from 'ip-address';
import { parseCidr } from '../../../shared/core/model/cidr';
import {
  formatOf,
  packRuleSet,
  parseProbe,
  parseRuleSet,
  printRuleSet,
  ruleSetId,
  toName,
  type RuleSet,
} from '../../../shared/core/model/rule-set';

const named = (cidr: string, name: string) => ({ cidr: parseCidr(cidr), name });

const sample: RuleSet = {
  generation: 1795295818468,
  randomFully: true,
  out: 'eth0',
  sources: [parseCidr('10.132.0.0/14')],
  exemptions: [named('10.209.0.0/16', 'network'), named('10.132.0.0/14', 'pods')],
  destinations: [
    named('fd12::/48', 'six'),
    named('10.193.0.0/16', 'backend-vpc'),
    named('10.64.0.0/16', 'b'),
  ],
  probes: [parseProbe('[fd12::3]:443'), parseProbe('10.193.0.3:32191')],
};

const text = `peermasq/1
generation 1795295818468
option random-fully
option out eth0
source 10.132.0.0/14
exempt 10.132.0.0/14 pods
exempt 10.209.0.0/16 network
masquerade 10.64.0.0/16 b
masquerade 10.193.0.0/16 backend-vpc
masquerade fd12::/48 six
probe 10.193.0.3:32191
probe [fd12::3]:443
`;

test('the text of a rule set is sorted by kind of line, then by range', () => {
  expect(printRuleSet(sample)).toBe(text);
});

test('the ID of a rule set is the sha256 of every line except the generation', () => {
  expect(ruleSetId(sample)).toBe('b49d8801cfc39c5026122439a571a0a88c8c049a80ae584b0632c0cde3bfc786');
  expect(ruleSetId({ ...sample, generation: 1 })).toBe(ruleSetId(sample));
  expect(ruleSetId({ ...sample, randomFully: false })).not.toBe(ruleSetId(sample));
});

test('a rule set without features of format 2 stays in format 1 and keeps its ID', () => {
  expect(formatOf(sample)).toBe(1);
  expect(printRuleSet({ ...sample, isSteered: false })).toBe(text);
  expect(ruleSetId({ ...sample, isSteered: false })).toBe(ruleSetId(sample));
});

const steeredText = text
  .replace('peermasq/1', 'peermasq/2')
  .replace('option out eth0\n', 'option out eth0\noption steer\n');

test('a rule set with steering is in format 2 and has a different ID', () => {
  const steered = { ...sample, isSteered: true };
  expect(formatOf(steered)).toBe(2);
  expect(printRuleSet(steered)).toBe(steeredText);
  expect(ruleSetId(steered)).not.toBe(ruleSetId(sample));
  expect(parseRuleSet(steeredText)).toHaveProperty('isSteered', true);
  expect(printRuleSet(parseRuleSet(packRuleSet(steered)))).toBe(steeredText);
});

test('a packed rule set is one line of base64 that parses to the same rule set', () => {
  expect(packRuleSet(sample)).toMatch(/^H4sI[A-Za-z0-9+/]+=*$/);
  expect(printRuleSet(parseRuleSet(packRuleSet(sample)))).toBe(text);
});

describe('parseRuleSet rejects', () => {
  test.each([
    ['an empty text', '', 'as line 1, got ""'],
    [
      'a later format',
      text.replace('/1', '/3'),
      'expected peermasq/1 or peermasq/2 as line 1, got "peermasq/3"',
    ],
    ['format 2 where format 1 is enough', text.replace('/1', '/2'), 'not in canonical form'],
    ['steering in format 1', steeredText.replace('/2', '/1'), 'not in canonical form'],
    ['steering with a value', steeredText.replace('steer', 'steer eth1'), 'not in canonical form'],
    ['steering twice', steeredText.replace('option steer\n', '$&$&'), 'not in canonical form'],
    ['steering without a source', steeredText.replace(/source .*\n/, ''), 'option steer needs a source'],
    [
      'steering before other options',
      steeredText.replace(/(option out eth0\n)(option steer\n)/, '$2$1'),
      'not in canonical form',
    ],
    ['a missing generation', text.replace(/generation .*\n/, ''), 'as line 2, got "option random-fully"'],
    [
      'a generation that is not a number',
      text.replace('1795295818468', '-1'),
      'as line 2, got "generation -1"',
    ],
    [
      'lines out of order',
      text.replace('option random-fully\noption out eth0', 'option out eth0\noption random-fully'),
      'not in canonical form',
    ],
    ['a line of an unknown kind', `${text}reboot now\n`, 'not in canonical form'],
    ['host bits', text.replace('10.193.0.0/16', '10.193.0.1/16'), 'host bits'],
    ['a hostile name', text.replace('backend-vpc', '$(reboot)'), 'must match pattern'],
    ['a name with a space', text.replace('backend-vpc', 'backend vpc'), 'not in canonical form'],
    ['a broken archive', packRuleSet(sample).slice(0, 40), 'unexpected end of file'],
  ])('%s', (_, encoded, message) => {
    expect(() => parseRuleSet(encoded)).toThrow(message);
  });
});

test.each([
  ['10.193.0.3:32191', undefined],
  ['[fd00::1]:443', undefined],
  ['10.193.0.3', 'invalid probe'],
  ['10.193.0.3:0', 'invalid probe'],
  ['10.193.0.3:65536', 'invalid probe'],
  ['[10.193.0.3]:80', 'invalid probe'],
  ['fd00::1:443', 'invalid probe'],
  ['backend:443', 'invalid probe'],
  ['10.193.0.300:80', 'invalid address "10.193.0.300"'],
])('parseProbe(%j) fails with %j', (probe, message) => {
  const read = () => parseProbe(probe);
  if (message === undefined) expect(read).not.toThrow();
  else expect(read).toThrow(message);
});

test.each([
  ['pcx-0123abcd', 'pcx-0123abcd'],
  ['peer to prod; reboot', 'peer-to-prod--reboot'],
  ['$(id)\n"', '--id---'],
  ['', '-'],
  ['é'.repeat(70), '-'.repeat(63)],
])('toName(%j) is %j', (from, to) => {
  expect(toName(from)).toBe(to);
});

const anyRuleSet: fc.Arbitrary<RuleSet> = fc.record({
  generation: fc.integer({ min: 1, max: 9_999_999_999_999 }),
  randomFully: fc.boolean(),
  isSteered: fc.boolean(),
  sources: fc.uniqueArray(
    fc.ipV4().map((ip) => parseCidr(`${ip}/32`)),
    { selector: ({ text: cidr }) => cidr, minLength: 1 },
  ),
  exemptions: fc.uniqueArray(
    fc
      .bigInt({ min: 1n << 96n, max: (1n << 128n) - 1n })
      .map((address) => named(`${Address6.fromBigInt(address).correctForm()}/128`, 'exempt')),
    { selector: ({ cidr }) => cidr.text },
  ),
  destinations: fc.uniqueArray(
    fc.tuple(fc.ipV4(), fc.string({ minLength: 1 })).map(([ip, name]) => named(`${ip}/32`, toName(name))),
    { selector: ({ cidr }) => cidr.text },
  ),
  probes: fc.uniqueArray(
    fc.tuple(fc.ipV4(), fc.integer({ min: 1, max: 65535 })).map(([ip, port]) => parseProbe(`${ip}:${port}`)),
    {
      selector: ({ address, port }) => `${address.text}:${port}`,
    },
  ),
});

test('any rule set can be parsed from both its text and its packed form', () => {
  fc.assert(
    fc.property(anyRuleSet, (ruleSet) => {
      expect(printRuleSet(parseRuleSet(printRuleSet(ruleSet)))).toBe(printRuleSet(ruleSet));
      expect(ruleSetId(parseRuleSet(packRuleSet(ruleSet)))).toBe(ruleSetId(ruleSet));
    }),
  );
});
