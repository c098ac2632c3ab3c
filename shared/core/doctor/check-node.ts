import type { Explanation, SocketAddress } from '../explain/explanation';
import type { Node } from '../model/node';
import { printProbe } from '../model/rule-set';
import { shellQuote } from '../util/shell';
import type { CheckResult } from './check';
import type { Findings } from './findings';

/** Is the node running, and does its firewall let the connection out? */
export function checkNode(findings: Findings): CheckResult {
  const { node, outcome, rules } = findings;
  const clusters = node.clusters.length > 0 ? `cluster ${node.clusters.join(', ')}` : 'no cluster';
  const description = `${node.name} (${node.ref.id}, ${clusters}) is ${node.state}.`;
  if (node.state !== 'running') return { state: 'broken', evidence: [description], fix: startCommand(node) };
  if (!(rules instanceof Error) && rules.cause === 'dropped') {
    return { state: 'broken', evidence: [rules.reason, description, ...decisiveRules(rules)] };
  }
  const redirection = redirectionEvidence(findings);
  if (!(rules instanceof Error) && rules.mayBeDropped) {
    const evidence = [rules.reason, description, ...redirection, ...decisiveRules(rules)];
    return { state: 'unknown', evidence };
  }
  const skipped = outcome.kind === 'skipped' ? [`peermasq skips this node: ${outcome.skip.detail}`] : [];
  return { state: 'ok', evidence: [description, ...redirection, ...skipped] };
}

function startCommand({ ref, name }: Node): string {
  const args =
    ref.cloud === 'aws'
      ? ['aws', 'ec2', 'start-instances', '--instance-ids', ref.id, '--region', ref.region]
      : ['gcloud', 'compute', 'instances', 'start', name, '--zone', ref.zone, '--project', ref.project];
  return args.map(shellQuote).join(' ');
}

/** Where the node's NAT rules send the connection; empty if that is the requested destination. */
export function redirectionEvidence({ rules, requested }: Findings): string[] {
  if (rules instanceof Error) return [];
  const wanted = printProbe(requested);
  const actual = rules.destinations.map(formatDestination);
  if (actual.every((destination) => destination === wanted)) return [];
  const by = rules.redirectedBy.length > 0 ? `: ${rules.redirectedBy.join('; ')}` : '.';
  return [`The node redirects ${wanted} to ${actual.join(' or ')}${by}`];
}

function formatDestination({ address, port }: SocketAddress): string {
  if (address === null) return 'an unknown address';
  const host = address.includes(':') ? `[${address}]` : address;
  return `${host}:${port ?? '(unknown port)'}`;
}

/** The last rules that matched, as the dump shows them. */
export const decisiveRules = ({ path }: Explanation): string[] =>
  path
    .filter(({ result, chain }) => result !== 'not-matched' && chain !== '')
    .slice(-3)
    .map(({ table, chain, rule, text }) => `${table} ${chain} ${rule}: ${text}`);
