import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { explain } from '../../../shared/core/explain/explain';
import { parseSnapshot } from '../../../shared/core/explain/parse/snapshot';
import { explainDump, iptablesTable, natTable, network, packet } from './dump-builder';
import { certain, matching, negate, sets, undecidable } from './simulate/match-lists';

test.each([
  ['undecided', '-m limit --limit 1/min -j DROP', true],
  ['an unsupported target', '-j NFQUEUE --queue-num 0', true],
  ['for other packets', '-s 10.132.0.11 -m limit --limit 1/min -j DROP', false],
  ['certain', '-j DROP', false],
])(
  'mayBeDropped is set only if it is uncertain whether a rule drops the packet: the rule is %s',
  (_, rule, expected) => {
    const nat = natTable('-A POSTROUTING -j MASQUERADE');
    const filter = iptablesTable('filter', `-A FORWARD ${rule}`);
    expect(explainDump(network + nat + filter).mayBeDropped).toBe(expected);
  },
);

test('the reason for a step names each match and the values that were compared', () => {
  const { path } = explainDump(
    network +
      natTable(
        '-A POSTROUTING -d 10.194.0.0/16 -j MASQUERADE',
        '-A POSTROUTING -s 10.132.0.0/14 -o eth0 -j LOG',
        '-A POSTROUTING -m limit --limit 3/sec -j MASQUERADE',
        '-A POSTROUTING -j MASQUERADE',
      ),
  );
  expect(path.map(({ result, reason }) => [result, reason])).toEqual([
    ['not-matched', 'does not match -d 10.194.0.0/16 (destination 10.193.0.3)'],
    ['matched', 'matches -s 10.132.0.0/14 (source 10.132.0.10), -o eth0 (interface out eth0)'],
    ['unknown', 'undecided: -m limit --limit 3/sec (unsupported match)'],
    ['matched', 'matches every packet'],
  ]);
});

describe('explain, for any rules:', () => {
  const explainNat = (rules: readonly string[]) => explainDump(network + sets + natTable(...rules));
  const rule = fc.tuple(
    fc.constantFrom('POSTROUTING', 'A', 'B'),
    fc.constantFrom('', certain, ...matching, ...matching.map(negate), ...undecidable),
    fc.constantFrom(
      '-j MASQUERADE',
      '-j RETURN',
      '-j ACCEPT',
      '-j LOG',
      '-j SNAT --to-source 198.51.100.7',
      '-j A',
      '-g B',
    ),
  );
  /** A chain may jump only to chains that come after it in this order, because the kernel rejects loops. */
  const isLoop = ([chain, , target]: readonly [string, string, string]) =>
    (chain === 'B' && / [AB]$/.test(target)) || (chain === 'A' && target === '-j A');
  const rules = fc.array(rule, { maxLength: 12 }).map((list) => list.filter((one) => !isLoop(one)));
  const textOf = ([chain, match, target]: readonly [string, string, string]) =>
    `-A ${chain} ${match} ${target}`;

  test('adding an undecidable match to a rule makes the result unknown or leaves it unchanged', () => {
    fc.assert(
      fc.property(rules, fc.nat(), (list, at) => {
        const before = explainNat(list.map(textOf));
        const texts = list.map((one, index) =>
          textOf(index === at % list.length ? [one[0], `${one[1]} -m limit --limit 1/s`, one[2]] : one),
        );
        const after = explainNat(texts);
        expect(
          after.masqueraded === 'unknown' ||
            after.masqueraded === before.masqueraded ||
            before.masqueraded === 'unknown',
        ).toBe(true);
      }),
    );
  });

  test('rules after an unconditional ACCEPT have no effect', () => {
    fc.assert(
      fc.property(rules, rules, (list, more) => {
        const first = [...list.map(textOf), '-A POSTROUTING -j ACCEPT'];
        const later = more.filter(([chain]) => chain === 'POSTROUTING').map(textOf);
        expect(explainNat([...first, ...later]).masqueraded).toBe(explainNat(first).masqueraded);
      }),
    );
  });
});

test('10,000 rules are parsed and simulated within a second, and 40 of the rules that almost match are shown', () => {
  const rules = Array.from(
    { length: 10_000 },
    (_, index) => `-A POSTROUTING -d 10.${index >> 8}.${index & 255}.0/24 -m limit --limit 1/s -j MASQUERADE`,
  );
  const text = network + natTable(...rules, '-A POSTROUTING -j MASQUERADE');
  const began = process.cpuUsage();
  const { path, omitted } = explain(parseSnapshot(text), packet, { assumeComplete: true });
  const { user, system } = process.cpuUsage(began);
  expect((user + system) / 1000).toBeLessThan(1000);
  expect([path.length, omitted]).toEqual([41, 9960]);
});
