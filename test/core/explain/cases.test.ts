import { expect, test } from '@jest/globals';
import { explain } from '../../../shared/core/explain/explain';
import type { Explanation } from '../../../shared/core/explain/explanation';
import { readCase, type CaseConnection } from './read-case';

interface Case extends CaseConnection {
  /** What the case is about. */
  readonly title: string;
  /** The answer about the rules shown. */
  readonly masqueraded: Explanation['masqueraded'];
  /** The answer about the node. Almost always unknown, because few dumps show all of its rules. */
  readonly onNode?: Explanation['masqueraded'];
  readonly cause?: Explanation['cause'];
  /** Parts of the node that the answer names as not shown. */
  readonly notShown?: readonly string[];
  /** Text that the reason contains. */
  readonly reason?: string;
  readonly source?: string;
  /** Text that the fix contains. */
  readonly fix?: string;
  /** Text that one of the warnings contains. */
  readonly warning?: string;
}

/** Input as people paste it, with the answer that it must get. */
const cases: readonly Case[] = [
  {
    title: 'a single rule without its table',
    input: 'bare-rule',
    from: '10.88.1.5',
    to: '10.57.0.10:443',
    masqueraded: false,
    reason: 'skipped because the destination is inside 10.0.0.0/8',
    warning: 'name no table: table nat is assumed',
  },
  {
    title: 'a table without COMMIT',
    input: 'no-commit',
    from: '10.88.1.5',
    to: '10.57.0.10:443',
    masqueraded: false,
    reason: 'skipped because the destination is inside 10.0.0.0/8',
    warning: 'has no COMMIT',
  },
  {
    title: 'a chain that was filtered away and that the packet does not reach',
    input: 'filtered-chain',
    from: '10.88.1.5',
    to: '10.57.0.10:443',
    masqueraded: false,
    reason: 'POSTROUTING rule 1',
  },
  {
    title: 'a chain that was filtered away and that the packet reaches',
    input: 'filtered-chain',
    from: '10.88.1.5',
    to: '10.64.0.1:443',
    masqueraded: 'unknown',
    reason: 'KUBE-SVC-ERIFXISQEP7F7OF4',
  },
  {
    title: 'the output of iptables -S',
    input: 'list-rules',
    from: '10.88.1.5',
    to: '10.57.0.10:443',
    masqueraded: false,
    reason: 'Shadowed by IP-MASQ-AGENT rule 2',
  },
  {
    title: 'a session with prompts inside a code fence',
    input: 'prompt-and-fence',
    from: '10.88.1.5',
    to: '10.57.0.10:443',
    masqueraded: false,
    reason: 'skipped because the destination is inside 10.0.0.0/8',
    warning: 'Line 1 was passed over: Here is what the node has:',
  },
  {
    title: 'a file in UTF-16, as PowerShell writes it',
    input: 'powershell-utf16',
    from: '10.88.1.5',
    to: '10.57.0.10:443',
    masqueraded: false,
    reason: 'skipped because the destination is inside 10.0.0.0/8',
  },
  {
    title: 'a line that a terminal broke inside a word',
    input: 'wrapped-line',
    from: '10.100.3.4',
    to: '203.0.113.9:443',
    masqueraded: false,
    reason: 'KUBE-POSTROUTING rule 1',
    warning: 'The rule in line 5 was broken',
  },
  {
    title: 'a routing rule for a mark, before the rule for the pod',
    input: 'mark-before-pod-table',
    from: '172.16.6.91',
    to: '10.50.0.10:5432',
    masqueraded: true,
    source: '172.16.4.20',
  },
  {
    title: 'a routing rule for the branch interface of another pod',
    input: 'branch-interface-of-another-pod',
    from: '172.30.9.200',
    to: '10.50.0.10:5432',
    masqueraded: true,
    source: '172.30.8.14',
  },
  {
    title: 'the routes of every table',
    input: 'routes-of-every-table',
    from: '10.88.0.10',
    to: '192.0.2.9:443',
    masqueraded: true,
    source: '10.15.0.8',
  },
  {
    title: 'addresses from ip addr without -o',
    input: 'addresses-on-several-lines',
    from: '10.88.0.10',
    to: '203.0.113.9:443',
    masqueraded: true,
    source: '10.15.0.8',
  },
  {
    title: 'a default route after the tables of IPv6',
    input: 'default-route-after-ipv6-tables',
    from: '10.88.0.10',
    to: '203.0.113.9:443',
    masqueraded: true,
    source: '10.15.0.8',
  },
  {
    title: 'a pod on a secondary interface',
    input: 'secondary-interface',
    from: '172.16.6.91',
    to: '10.50.0.10:5432',
    masqueraded: true,
    source: '172.16.5.7',
  },
  {
    title: 'a pod on a secondary interface whose routing table is not shown',
    input: 'secondary-interface-without-table',
    from: '172.16.6.91',
    to: '10.50.0.10:5432',
    masqueraded: 'unknown',
    reason: 'Depends on POSTROUTING rule 1',
  },
  {
    title: 'iptables-nft before 1.8.8, whose header does not name the backend but whose program does',
    input: 'nft-save-185',
    from: '10.88.1.5',
    to: '10.57.0.3:31080',
    masqueraded: false,
    cause: 'no-rule',
    reason: 'POSTROUTING rule 1 (iptables-nft, table nat)',
    fix: 'iptables-nft -t nat -I POSTROUTING',
    notShown: [
      'tables raw, mangle, filter and security of iptables-nft',
      'iptables-legacy',
      "nft's own tables",
    ],
  },
  {
    title: 'both backends of 1.8.2, of which xtables-save is nft',
    input: 'both-182',
    from: '10.88.1.5',
    to: '198.51.100.9:443',
    masqueraded: true,
    cause: 'masqueraded',
    reason: 'Masqueraded by POSTROUTING rule 1 (iptables-legacy, table nat)',
    notShown: ['tables raw, mangle, filter and security of iptables-nft', "nft's own tables"],
  },
  {
    title: 'two tables of 1.8.7 with the same name, which belong to two backends',
    input: 'two-backends-187',
    from: '10.88.1.5',
    to: '198.51.100.9:443',
    masqueraded: true,
    cause: 'masqueraded',
    reason: 'Masqueraded by POSTROUTING rule 1 (iptables, table nat)',
    notShown: ["nft's own tables"],
  },
  {
    title: 'iptables before 1.8, which has no iptables-legacy',
    input: 'iptables-1421',
    from: '10.88.1.5',
    to: '10.57.0.3:31080',
    masqueraded: false,
    cause: 'no-rule',
    reason: 'POSTROUTING rule 1 (iptables, table nat)',
    fix: 'iptables -t nat -I POSTROUTING',
    notShown: ['iptables-nft', "nft's own tables"],
  },
  {
    title: 'one backend of a node that masquerades in an nft table of its own',
    input: 'nft-table-not-shown',
    from: '10.88.1.71',
    to: '10.57.5.9:5432',
    masqueraded: false,
    cause: 'no-rule',
    reason: 'POSTROUTING rule 1 (iptables-nft, table nat)',
    notShown: ['iptables-legacy', "nft's own tables"],
  },
  {
    title: 'rules from which an older iptables has left out matches',
    input: 'lost-matches',
    from: '10.88.64.7',
    to: '198.51.100.9:443',
    masqueraded: 'unknown',
    cause: 'unknown',
    reason: 'Depends on',
    warning: 'Matches are missing from its rules',
    notShown: ['the rest of table nat and tables raw, mangle, filter and security of iptables'],
  },
  {
    title: 'the output of iptables -L -n -v --line-numbers',
    input: 'listing-verbose',
    from: '10.88.1.5',
    to: '10.57.0.10:443',
    masqueraded: false,
    reason: 'POSTROUTING rule 3 (iptables, table nat), skipped because the destination is inside 10.0.0.0/8',
  },
  {
    title: 'a listing of one chain, which jumps to a chain that is not shown',
    input: 'listing-one-chain',
    from: '10.88.1.5',
    to: '10.57.0.10:443',
    masqueraded: 'unknown',
    reason: 'KUBE-POSTROUTING',
  },
  {
    title: 'a listing without interfaces, of which a rule decides without them',
    input: 'listing-without-interfaces',
    from: '10.77.1.5',
    to: '10.64.0.10:443',
    masqueraded: false,
  },
  {
    title: 'a listing without interfaces, of which a rule may depend on them',
    input: 'listing-without-interfaces',
    from: '10.88.1.5',
    to: '10.64.0.10:443',
    masqueraded: 'unknown',
    reason: 'interfaces',
  },
  {
    title: 'the text of nft',
    input: 'nft-text',
    from: '10.88.1.5',
    to: '10.57.0.10:443',
    masqueraded: false,
    reason: 'POSTROUTING rule 2',
  },
  {
    title: 'the text of nft with a table of its own',
    input: 'nft-own-table',
    from: '10.88.0.10',
    to: '203.0.113.9:443',
    masqueraded: true,
    source: '10.15.0.8',
  },
  {
    title: 'the output of ipset list',
    input: 'ipset-list',
    from: '10.88.1.5',
    to: '203.0.113.9:443',
    masqueraded: true,
  },
  {
    title: "nft's JSON for a table of iptables-nft",
    input: 'nft-json-of-iptables',
    from: '10.88.1.5',
    to: '10.57.0.10:443',
    masqueraded: false,
    fix: 'iptables-nft -t nat -I POSTROUTING',
  },
];

test.each(cases)('$title: $input, $from to $to', (row) => {
  const { masqueraded, reason = '', source, fix, warning } = row;
  const { snapshot, packet } = readCase(row);
  const explanation = explain(snapshot, packet, { assumeComplete: true });
  expect(explanation).toMatchObject({ masqueraded, reason: expect.stringContaining(reason) as unknown });
  if (source !== undefined) expect(explanation.source).toBe(source);
  if (fix !== undefined) expect(explanation.fix).toContain(fix);
  if (warning !== undefined) expect(snapshot.warnings.join('\n')).toContain(warning);

  const onNode = explain(snapshot, packet);
  const { cause, notShown = [] } = row;
  expect(onNode).toMatchObject({
    masqueraded: row.onNode ?? 'unknown',
    masqueradedByTablesShown: masqueraded,
    reason: explanation.reason,
    fix: explanation.fix,
  });
  expect(onNode.notShown).toEqual(expect.arrayContaining([...notShown]));
  if (cause !== undefined) expect(onNode.cause).toBe(cause);
});
