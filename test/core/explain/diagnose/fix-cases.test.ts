import { describe, expect, test } from '@jest/globals';
import { explain } from '../../../../shared/core/explain/explain';
import type { Cause, Explanation, Want } from '../../../../shared/core/explain/explanation';
import { readCase, type CaseConnection } from '../read-case';

interface Connection extends CaseConnection {
  readonly want?: Want;
}

/** The cases are about what the shown rules do. */
function explainCase({ want = 'masqueraded', ...connection }: Connection): Explanation {
  const { snapshot, packet } = readCase(connection);
  return explain(snapshot, packet, { want, assumeComplete: true });
}

const masquerade = (program: string, source: string, destination: string) =>
  `${program} -t nat -I POSTROUTING 1 -s ${source}/32 -d ${destination} -m addrtype ! --dst-type LOCAL -j MASQUERADE`;

interface FixCase extends Connection {
  readonly title: string;
  readonly masqueraded: Explanation['masqueraded'];
  readonly cause: Cause;
  /** Text that the reason contains. */
  readonly reason?: string;
  readonly fix: string | RegExp | null;
  readonly owner?: string;
}

const cases: readonly FixCase[] = [
  {
    title: 'the destination that the rules see after DNAT',
    input: 'service-to-peer',
    from: '10.88.1.5',
    to: '10.64.0.9:3306',
    masqueraded: false,
    cause: 'no-rule',
    fix: masquerade('iptables-nft', '10.88.1.5', '10.57.4.8/32'),
  },
  {
    title: 'every destination that a service may choose',
    input: 'service-to-peer',
    from: '10.88.1.5',
    to: '10.64.0.10:80',
    masqueraded: false,
    cause: 'no-rule',
    fix: masquerade('iptables-nft', '10.88.1.5', '10.57.4.8/32,10.57.4.9/32'),
  },
  {
    title: 'the program of a table that nft prints and iptables-nft manages',
    reason: 'Closest match: POSTROUTING rule 1 (iptables-nft, table nat)',
    input: 'nft-of-iptables',
    from: '10.88.1.5',
    to: '10.57.0.10:443',
    masqueraded: false,
    cause: 'no-rule',
    fix: masquerade('iptables-nft', '10.88.1.5', '10.57.0.10/32'),
  },
  {
    title: 'the rule that exempts the destination, rather than one for another destination',
    input: 'two-candidates',
    from: '100.88.2.15',
    to: '10.57.0.10:443',
    masqueraded: false,
    cause: 'no-rule',
    reason: 'Closest match: POSTROUTING rule 3 ',
    fix: / -s 100\.88\.2\.15\/32 -d 10\.57\.0\.10\/32 /,
  },
  {
    title: 'the set that decides, rather than a limit or a chain that changes nothing',
    input: 'irrelevant-unknown',
    from: '10.88.1.5',
    to: '203.0.113.9:443',
    masqueraded: 'unknown',
    cause: 'unknown',
    reason: 'set cali40masq-ipam-pools is not in the dump: add the output of `ipset save`',
    fix: / -s 10\.88\.1\.5\/32 -d 203\.0\.113\.9\/32 /,
    owner: 'Calico',
  },
  {
    title: 'a policy in another backend, with both directions of the connection',
    input: 'drop-in-other-backend',
    from: '10.88.1.5',
    to: '203.0.113.9:443',
    masqueraded: false,
    cause: 'dropped',
    reason: 'Dropped on the node by the policy of FORWARD (iptables-nft, table filter).',
    fix: 'iptables-nft -t filter -I FORWARD 1 -s 10.88.1.5/32 -d 203.0.113.9/32 -p tcp --dport 443 -j ACCEPT && iptables-nft -t filter -I FORWARD 1 -d 10.88.1.5/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    owner: 'Docker',
  },
  {
    title: 'nothing, because the packet is masqueraded as wanted',
    input: 'cni-masquerades',
    from: '10.88.4.7',
    to: '10.57.0.10:443',
    masqueraded: true,
    cause: 'masqueraded',
    reason: 'Masqueraded by CNI-3fa94bc1 rule 2 ',
    fix: null,
  },
  {
    title: 'an exemption before the rule that masquerades, because the packet is wanted direct',
    input: 'cni-masquerades',
    from: '10.88.4.7',
    to: '10.57.0.10:443',
    want: 'direct',
    masqueraded: true,
    cause: 'masqueraded',
    fix: / -t nat -I POSTROUTING 1 -s 10\.88\.4\.7\/32 -d 10\.57\.0\.10\/32 -j ACCEPT$/,
    owner: 'CNI plugin',
  },
  {
    title: 'nothing, because the packet is direct as wanted',
    input: 'two-candidates',
    from: '100.88.2.15',
    to: '10.57.0.10:443',
    want: 'direct',
    masqueraded: false,
    cause: 'no-rule',
    fix: null,
  },
];

describe('explain names', () => {
  test.each(cases)('$title', (row) => {
    const { masqueraded, cause, reason = '', fix, owner } = row;
    const explanation = explainCase(row);
    expect(explanation).toMatchObject({
      masqueraded,
      cause,
      fix: fix instanceof RegExp ? expect.stringMatching(fix) : fix,
      reason: expect.stringContaining(reason) as unknown,
    });
    if (owner !== undefined) expect(explanation.lastingFix?.owner).toBe(owner);
    else if (fix === null) expect(explanation.lastingFix).toBeNull();
  });
});

test('counters and tracked connections are evidence', () => {
  const { evidence } = explainCase({ input: 'counters-and-flows', from: '10.88.1.5', to: '10.57.0.10:443' });
  expect(evidence).toEqual([
    '0 packets have matched POSTROUTING rule 1 (iptables-nft, table nat).',
    '1 tracked connection from 10.88.1.5 to 10.57.0.10 left with source 10.88.1.5, 0 of them with replies.',
    '1 tracked connection from 10.88.1.5 to other destinations left with source 192.0.2.10, 1 of them with replies.',
    'Connections keep their translation when rules change. To let hanging ones start again, run `conntrack -D -s 10.88.1.5 -d 10.57.0.10`.',
  ]);
});
test('iptables before 1.8 has one backend, so the fix does not name one', () => {
  const { fix, lastingFix } = explainCase({
    input: 'old-iptables',
    from: '10.88.1.5',
    to: '10.57.0.10:443',
  });
  expect(fix).toBe(masquerade('iptables', '10.88.1.5', '10.57.0.10/32'));
  expect(lastingFix).toEqual({ owner: 'kubenet', advice: expect.stringContaining('--non-masquerade-cidr') });
});
