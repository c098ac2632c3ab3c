import { addressOf, contains, parseCidr } from '../../core/model/cidr';
import type { Instance } from '../discover/instance';
import { lastSegment, regionOf, subnetRanges, type NetworkRef } from '../discover/networks';
import { hasPort, type Flow } from './firewall-rules';
import { gcloud } from './fix-command';
import { type PathContext, type CheckResult } from './path-context';
import { checkFirewallRules } from './firewall-result';
import { gcpRefOf, inProject, orAccessDenied, AccessDenied, type ForwardingRule } from './network-reader';

/** Whether the node may send the packet. The answer needs no rule: connections are tracked. */
export async function checkNodeFirewall(context: PathContext): Promise<CheckResult> {
  const { reader, connection, instance, ref } = context;
  const { source, destination, port } = connection;
  const flow: Flow = { direction: 'EGRESS', source, destination, port, target: instance };
  const rules = await reader.firewallsOf(connection.node.ref);
  return checkFirewallRules(flow, rules, await enforcementOrder(context, ref), ref);
}

async function enforcementOrder(
  { reader }: PathContext,
  ref: NetworkRef,
): Promise<string | null | undefined> {
  const network = await orAccessDenied(reader.network(ref));
  return network instanceof AccessDenied ? undefined : network?.networkFirewallPolicyEnforcementOrder;
}

/** Whether whoever has the destination may get the packet. */
export async function checkPeerFirewall(context: PathContext): Promise<CheckResult> {
  const { connection, ref } = context;
  const nextHop = await context.nextHop();
  if (nextHop.kind === 'none')
    return { state: 'unknown', evidence: ['It is not known which network has the destination.'] };
  if (nextHop.kind === 'peering') return checkIngress(context, nextHop.sides.remote);
  if (nextHop.route.to === 'subnet') return checkIngress(context, ref);
  const { via } = nextHop.route;
  return {
    state: 'unknown',
    evidence: [`What lies behind ${via} has rules of its own for ${addressOf(connection.destination)}.`],
  };
}

async function checkIngress(context: PathContext, ref: NetworkRef): Promise<CheckResult> {
  const { reader, connection } = context;
  const address = addressOf(connection.destination);
  const instance = await orAccessDenied(reader.instanceAt(ref, address));
  if (instance && !(instance instanceof AccessDenied)) return checkInstanceIngress(context, ref, instance);
  const rules = await orAccessDenied(reader.forwardingRulesAt(ref, address));
  const found = rules instanceof AccessDenied ? [] : rules;
  const [first] = found;
  if (first)
    return checkForwardingRule(
      context,
      ref,
      found.find((rule) => forwardsPort(rule, connection.port)) ?? first,
    );
  const denied = [instance, rules].filter((one) => one instanceof AccessDenied);
  const note =
    denied.length > 0
      ? denied.map(({ message }) => `Who has ${address} cannot be seen from here: ${message}.`)
      : [
          `No instance and no forwarding rule of project ${ref.project} has ${address}; it may be of another project.`,
        ];
  return checkNetworkIngress(context, ref, note);
}

function ingressFlow({ connection, instance, ref }: PathContext, to: NetworkRef): Flow {
  const { source, destination, port } = connection;
  const isSame = ref.project === to.project && ref.network === to.network;
  return { direction: 'INGRESS', source, destination, port, ...(isSame && { origin: instance }) };
}

async function checkInstanceIngress(
  context: PathContext,
  ref: NetworkRef,
  target: Instance,
): Promise<CheckResult> {
  const rules = await context.reader.firewallsOf(gcpRefOf(target, ref.project));
  const flow = { ...ingressFlow(context, ref), target };
  const note = `Instance ${target.name ?? ''} of ${ref.project} has ${addressOf(flow.destination)}.`;
  const result = checkFirewallRules(
    flow,
    rules,
    await enforcementOrder(context, ref),
    ref,
    await sourceRange(context),
  );
  return withNotes([note], result);
}

/** Rules are for the instances behind a load balancer, whichever these are. */
async function checkNetworkIngress(
  context: PathContext,
  ref: NetworkRef,
  notes: readonly string[],
): Promise<CheckResult> {
  const rules = await context.reader.firewallsIn(ref);
  const order = await enforcementOrder(context, ref);
  return withNotes(
    notes,
    checkFirewallRules(ingressFlow(context, ref), rules, order, ref, await sourceRange(context)),
  );
}

const withNotes = (notes: readonly string[], result: CheckResult): CheckResult => ({
  ...result,
  // What decides comes first.
  evidence: result.state === 'broken' ? [...result.evidence, ...notes] : [...notes, ...result.evidence],
});

async function checkForwardingRule(
  context: PathContext,
  ref: NetworkRef,
  rule: ForwardingRule,
): Promise<CheckResult> {
  const { connection } = context;
  const { name, IPAddress, allowGlobalAccess, loadBalancingScheme } = rule;
  const region = lastSegment(rule.region);
  const location = [...inProject(ref), '--region', region];
  const note = `Forwarding rule ${name ?? ''} of ${ref.project} in ${region} has ${IPAddress ?? ''}.`;
  if (!forwardsPort(rule, connection.port)) {
    const problem = `It does not forward tcp:${connection.port}.`;
    const fix = gcloud('forwarding-rules', 'describe', name ?? '', ...location);
    return { state: 'broken', evidence: [problem, note], fix };
  }
  const from = regionOf(connection.node.ref.zone);
  if (region && region !== from && !allowGlobalAccess) {
    const problem = `It is for clients in its own region, and the node is in ${from}.`;
    const fix = gcloud('forwarding-rules', 'update', name ?? '', ...location, '--allow-global-access');
    return { state: 'broken', evidence: [problem, note], fix };
  }
  if (loadBalancingScheme === 'INTERNAL_MANAGED') {
    return {
      state: 'ok',
      evidence: [note, 'It is a proxy: VPC firewall rules do not keep clients from it.'],
    };
  }
  return checkNetworkIngress(context, ref, [note]);
}

function forwardsPort({ IPProtocol, allPorts, ports, portRange }: ForwardingRule, port: number): boolean {
  if (IPProtocol && !['TCP', 'L3_DEFAULT'].includes(IPProtocol)) return false;
  const ranges = [...(ports ?? []), ...(portRange ? [portRange] : [])];
  if (allPorts || ranges.length === 0) return true;
  return ranges.some((range) => hasPort(range, port));
}

/** What a rule is to let in: every node of the subnet, for others come to be. */
async function sourceRange({ reader, connection, ref }: PathContext): Promise<string> {
  const subnets = await orAccessDenied(reader.subnetworks(ref));
  const ranges = subnets instanceof AccessDenied ? [] : subnets.flatMap(subnetRanges);
  return ranges.find((range) => contains(parseCidr(range), connection.source)) ?? connection.source.text;
}
