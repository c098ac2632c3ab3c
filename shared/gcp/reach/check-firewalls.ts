import { contains, toCidr, tryParseCidr, type Cidr } from '../../core/model/cidr';
import type { CheckResult } from '../../core/doctor/check';
import type { GcpNodeRef } from '../../core/model/node';
import {
  lastSegment,
  networkKey,
  regionOf,
  subnetRanges,
  type Instance,
  type NetworkRef,
} from '../discover/networks';
import { checkFirewallRules } from './firewall-rules';
import { gcloud, inProject } from './fix-command';
import { AccessDenied, orAccessDenied, type ForwardingRule } from './network-reader';
import type { PathContext } from './path-context';
import { hasPort, type Flow } from './rule-match';

/** Checks whether the firewall rules allow the node to send the packet. Return traffic needs no rule. */
export async function checkNodeFirewall(context: PathContext): Promise<CheckResult> {
  const { reader, connection, instance, ref } = context;
  const { source, destination, port } = connection;
  const flow: Flow = { direction: 'EGRESS', source, destination, port, target: instance };
  const rules = await reader.firewallsOf(connection.node.ref);
  return checkFirewallRules({
    flow,
    rules,
    order: await enforcementOrder(context, ref),
    ref,
    source: toCidr(source),
  });
}

async function enforcementOrder(
  { reader }: PathContext,
  ref: NetworkRef,
): Promise<string | null | undefined> {
  const network = await orAccessDenied(reader.network(ref));
  return network instanceof AccessDenied ? undefined : network?.networkFirewallPolicyEnforcementOrder;
}

/** Checks whether the firewall rules of the destination's network allow the packet in. */
export async function checkPeerFirewall(context: PathContext): Promise<CheckResult> {
  const nextHop = await context.nextHop();
  switch (nextHop.kind) {
    case 'none':
      return { state: 'unknown', evidence: ['The network of the destination is unknown.'] };
    case 'peering':
      return checkIngress(context, nextHop.sides.remote);
    case 'route': {
      const { targetKind, via } = nextHop.route;
      return targetKind === 'subnet'
        ? checkIngress(context, context.ref)
        : { state: 'unknown', evidence: [`Cannot check the firewalls behind ${via}.`] };
    }
  }
}

/** @param ref the network of the destination */
async function checkIngress(context: PathContext, ref: NetworkRef): Promise<CheckResult> {
  const { reader, connection } = context;
  const address = connection.destination.text;
  const instance = await orAccessDenied(reader.instanceAt(ref, address));
  if (instance && !(instance instanceof AccessDenied)) return checkInstanceIngress(context, ref, instance);
  const found = await orAccessDenied(reader.forwardingRulesAt(ref, address));
  const rules = found instanceof AccessDenied ? [] : found;
  const rule = rules.find((one) => forwardsPort(one, connection.port)) ?? rules[0];
  if (rule) return checkForwardingRule(context, ref, rule);
  const denied = [instance, found].filter((one) => one instanceof AccessDenied);
  const notes =
    denied.length > 0
      ? denied.map(({ message }) => `Could not find the owner of ${address}: ${message}.`)
      : [
          `No instance or forwarding rule in project ${ref.project} has ${address}; it may be in another project.`,
        ];
  return checkNetworkIngress(context, ref, notes);
}

function ingressFlow({ connection, instance, ref }: PathContext, to: NetworkRef): Flow {
  const { source, destination, port } = connection;
  const flow: Flow = { direction: 'INGRESS', source, destination, port };
  return networkKey(ref) === networkKey(to) ? { ...flow, origin: instance } : flow;
}

async function checkInstanceIngress(
  context: PathContext,
  ref: NetworkRef,
  target: Instance,
): Promise<CheckResult> {
  const rules = await context.reader.firewallsOf(instanceRef(target, ref.project));
  const flow = { ...ingressFlow(context, ref), target };
  const note = `${flow.destination.text} belongs to instance ${target.name ?? ''} of project ${ref.project}.`;
  const order = await enforcementOrder(context, ref);
  const source = await nodeRange(context);
  return withNotes([note], checkFirewallRules({ flow, rules, order, ref, source }));
}

const instanceRef = ({ zone, id }: Instance, project: string): GcpNodeRef => ({
  cloud: 'gcp',
  project,
  zone: lastSegment(zone),
  id: String(id),
});

/**
 * Checks the rules of the whole network. It is unknown which instance has the address or which instances are behind the
 * load balancer.
 */
async function checkNetworkIngress(
  context: PathContext,
  ref: NetworkRef,
  notes: readonly string[],
): Promise<CheckResult> {
  const rules = await context.reader.firewallsIn(ref);
  const order = await enforcementOrder(context, ref);
  const source = await nodeRange(context);
  return withNotes(notes, checkFirewallRules({ flow: ingressFlow(context, ref), rules, order, ref, source }));
}

/** Adds notes to the evidence. If the check is broken, they come last, so that the decisive sentence comes first. */
const withNotes = (notes: readonly string[], result: CheckResult): CheckResult => ({
  ...result,
  evidence: result.state === 'broken' ? [...result.evidence, ...notes] : [...notes, ...result.evidence],
});

async function checkForwardingRule(
  context: PathContext,
  ref: NetworkRef,
  rule: ForwardingRule,
): Promise<CheckResult> {
  const { connection } = context;
  const { IPAddress, allowGlobalAccess, loadBalancingScheme } = rule;
  const name = rule.name ?? '';
  const region = lastSegment(rule.region);
  const location = [...inProject(ref), '--region', region];
  const note = `${IPAddress ?? ''} belongs to forwarding rule ${name} of project ${ref.project} in ${region}.`;
  if (!forwardsPort(rule, connection.port)) {
    const evidence = [`Forwarding rule ${name} does not forward tcp:${connection.port}.`, note];
    return { state: 'broken', evidence, fix: gcloud('forwarding-rules', 'describe', name, ...location) };
  }
  const nodeRegion = regionOf(connection.node.ref.zone);
  if (region && region !== nodeRegion && !allowGlobalAccess) {
    const problem = `Forwarding rule ${name} accepts clients in ${region} only (no global access), and the node is in ${nodeRegion}.`;
    const fix = gcloud('forwarding-rules', 'update', name, ...location, '--allow-global-access');
    return { state: 'broken', evidence: [problem, note], fix };
  }
  if (loadBalancingScheme === 'INTERNAL_MANAGED') {
    const proxy = 'It is a proxy-based load balancer: VPC firewall rules do not apply to its clients.';
    return { state: 'ok', evidence: [note, proxy] };
  }
  return checkNetworkIngress(context, ref, [note]);
}

function forwardsPort({ IPProtocol, allPorts, ports, portRange }: ForwardingRule, port: number): boolean {
  if (IPProtocol && !['TCP', 'L3_DEFAULT'].includes(IPProtocol)) return false;
  const ranges = [...(ports ?? []), ...(portRange ? [portRange] : [])];
  if (allPorts || ranges.length === 0) return true;
  return ranges.some((range) => hasPort(range, port));
}

/** Returns the node's subnet, because a fix should allow every node of the subnet. */
async function nodeRange({ reader, connection: { source }, ref }: PathContext): Promise<Cidr> {
  const subnets = await orAccessDenied(reader.subnetworks(ref));
  const texts = subnets instanceof AccessDenied ? [] : subnets.flatMap(subnetRanges);
  const ranges = texts.flatMap((text) => tryParseCidr(text) ?? []);
  return ranges.find((range) => contains(range, source)) ?? toCidr(source);
}
