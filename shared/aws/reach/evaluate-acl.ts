import type { NetworkAcl } from '@aws-sdk/client-ec2';
import { definedOnly } from '../../core/util/collections';
import {
  defaultRule,
  freeRuleNumberBefore,
  intersect,
  matchAclEntries,
  type AclMatch,
  type Direction,
  type Ports,
} from './acl-match';
import { byFamily } from './fix-command';
import { describeTraffic, type Endpoint, type LayerResult } from './firewall-endpoint';
import type { PathContext } from './path-context';

/** The source ports that masquerading may use. Return traffic may go to any of them. */
const ephemeral: Ports = { from: 1_024, to: 65_535 };
/** The source ports that Linux normally uses. Return traffic to all of them has to be allowed. */
const linuxEphemeral: Ports = { from: 32_768, to: 60_999 };

interface Flow {
  readonly direction: Direction;
  readonly traffic: 'traffic' | 'return traffic';
  readonly ports: Ports;
  /** Ports that have to be allowed. The check fails if any of them is denied. */
  readonly required: Ports;
}

/** Evaluates a network ACL in both directions. Network ACLs are stateless, so each direction needs its own rule. */
export function evaluateAcl(context: PathContext, endpoint: Endpoint, acl: NetworkAcl): LayerResult[] {
  const { port } = context.connection;
  const ports: Ports = { from: port, to: port };
  const opposite = endpoint.direction === 'egress' ? 'ingress' : 'egress';
  const flows: Flow[] = [
    { direction: endpoint.direction, traffic: 'traffic', ports, required: ports },
    { direction: opposite, traffic: 'return traffic', ports: ephemeral, required: linuxEphemeral },
  ];
  return flows.map((flow) => evaluateFlow({ context, endpoint, acl, flow }));
}

interface AclCheck {
  readonly context: PathContext;
  readonly endpoint: Endpoint;
  readonly acl: NetworkAcl;
  readonly flow: Flow;
}

function evaluateFlow(check: AclCheck): LayerResult {
  const { flow, acl } = check;
  const { address } = check.endpoint.other;
  const matches = matchAclEntries(acl.Entries ?? [], { ...flow, address });
  const allowed = matches.filter(({ isAllowed }) => isAllowed);
  const denied = matches.filter(({ isAllowed }) => !isAllowed);
  const what = describeTraffic(flow.direction, flow.traffic, address);
  const clauses = [
    ...(allowed.length > 0 ? [`allows ${what} on ${formatMatches(allowed)}`] : []),
    ...(denied.length > 0 ? [`denies ${allowed.length > 0 ? 'it' : what} on ${formatMatches(denied)}`] : []),
  ];
  const evidence = `${acl.NetworkAclId ?? ''} ${clauses.join('; ')}.`;
  const blocking = denied.find((one) => intersect(one, flow.required).length > 0);
  return definedOnly({
    state: blocking ? 'broken' : 'ok',
    evidence,
    fix: blocking && allowInAcl(check, blocking.rule),
  } as const);
}

const formatMatches = (matches: readonly AclMatch[]): string =>
  matches
    .map(({ from, to, rule }) => {
      const ports = from === to ? `port ${from}` : `ports ${from}-${to}`;
      return `${ports} (rule ${rule === defaultRule ? '*' : rule})`;
    })
    .join(', ');

/**
 * Returns a command that inserts an allow rule before the rule that blocks the traffic. If no rule number is free, the
 * command deletes the blocking rule.
 */
function allowInAcl({ context, endpoint, acl, flow }: AclCheck, blockingRule: number): string {
  const { ec2 } = context;
  const { location, allowedRange } = endpoint;
  const { Entries = [], NetworkAclId: id = '' } = acl;
  const { direction, ports } = flow;
  const number = freeRuleNumberBefore(Entries, direction, blockingRule);
  if (number === undefined) {
    const args = ['--network-acl-id', id, '--rule-number', String(blockingRule), `--${direction}`];
    return ec2(location, 'delete-network-acl-entry', ...args);
  }
  return ec2(
    location,
    'create-network-acl-entry',
    ...['--network-acl-id', id, `--${direction}`, '--rule-number', String(number), '--protocol', '6'],
    ...['--port-range', `From=${ports.from},To=${ports.to}`],
    ...[byFamily(allowedRange, '--cidr-block', '--ipv6-cidr-block'), allowedRange.text],
    ...['--rule-action', 'allow'],
  );
}
