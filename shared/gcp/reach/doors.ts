import { addressOf, contains, parseCidr } from '../../core/cidr';
import { gcpRef, lastOf, type Instance } from '../instance';
import { rangesOf, type NetworkRef } from '../network';
import { regionOf } from '../routes';
import { hasPort, type Connection } from './firewall';
import { gcloud } from './gcloud';
import { type Scene, type Told } from './scene';
import { verdict } from './verdict';
import { gcpRefOf, inProject, orUnseen, Unseen, type ForwardingRule } from './view';

/** Whether the node may send the packet. The answer needs no rule: connections are tracked. */
export async function firewallOfNode(scene: Scene): Promise<Told> {
  const { view, way, instance, ref } = scene;
  const { source, destination, port } = way;
  const connection: Connection = { direction: 'EGRESS', source, destination, port, target: instance };
  const rules = await view.firewallsOf(gcpRef(way.node));
  return verdict(connection, rules, await orderOf(scene, ref), ref);
}

async function orderOf({ view }: Scene, ref: NetworkRef): Promise<string | null | undefined> {
  const network = await orUnseen(view.network(ref));
  return network instanceof Unseen ? undefined : network?.networkFirewallPolicyEnforcementOrder;
}

/** Whether whoever has the destination may get the packet. */
export async function firewallOfPeer(scene: Scene): Promise<Told> {
  const { way, ref } = scene;
  const across = await scene.across();
  if (across.by === 'nothing')
    return { state: 'unknown', evidence: ['It is not known which network has the destination.'] };
  if (across.by === 'peering') return into(scene, across.peered.other);
  if (across.leg.to === 'subnet') return into(scene, ref);
  const { via } = across.leg;
  return {
    state: 'unknown',
    evidence: [`What lies behind ${via} has rules of its own for ${addressOf(way.destination)}.`],
  };
}

async function into(scene: Scene, ref: NetworkRef): Promise<Told> {
  const { view, way } = scene;
  const address = addressOf(way.destination);
  const instance = await orUnseen(view.instanceAt(ref, address));
  if (instance && !(instance instanceof Unseen)) return intoInstance(scene, ref, instance);
  const rules = await orUnseen(view.forwardingRulesAt(ref, address));
  const found = rules instanceof Unseen ? [] : rules;
  const [first] = found;
  if (first) return intoForwarding(scene, ref, found.find((rule) => forwards(rule, way.port)) ?? first);
  const unseen = [instance, rules].filter((one) => one instanceof Unseen);
  const note =
    unseen.length > 0
      ? unseen.map(({ message }) => `Who has ${address} cannot be seen from here: ${message}.`)
      : [
          `No instance and no forwarding rule of project ${ref.project} has ${address}; it may be of another project.`,
        ];
  return intoNetwork(scene, ref, note);
}

function inwards({ way, instance, ref }: Scene, to: NetworkRef): Connection {
  const { source, destination, port } = way;
  const isSame = ref.project === to.project && ref.network === to.network;
  return { direction: 'INGRESS', source, destination, port, ...(isSame && { origin: instance }) };
}

async function intoInstance(scene: Scene, ref: NetworkRef, target: Instance): Promise<Told> {
  const rules = await scene.view.firewallsOf(gcpRefOf(target, ref.project));
  const connection = { ...inwards(scene, ref), target };
  const note = `Instance ${target.name ?? ''} of ${ref.project} has ${addressOf(connection.destination)}.`;
  const told = verdict(connection, rules, await orderOf(scene, ref), ref, await sourceRange(scene));
  return noting([note], told);
}

/** Rules are for the instances behind a load balancer, whichever these are. */
async function intoNetwork(scene: Scene, ref: NetworkRef, notes: readonly string[]): Promise<Told> {
  const rules = await scene.view.firewallsIn(ref);
  const order = await orderOf(scene, ref);
  return noting(notes, verdict(inwards(scene, ref), rules, order, ref, await sourceRange(scene)));
}

const noting = (notes: readonly string[], told: Told): Told => ({
  ...told,
  // What decides comes first.
  evidence: told.state === 'broken' ? [...told.evidence, ...notes] : [...notes, ...told.evidence],
});

async function intoForwarding(scene: Scene, ref: NetworkRef, rule: ForwardingRule): Promise<Told> {
  const { way } = scene;
  const { name, IPAddress, allowGlobalAccess, loadBalancingScheme } = rule;
  const region = lastOf(rule.region);
  const here = [...inProject(ref), '--region', region];
  const note = `Forwarding rule ${name ?? ''} of ${ref.project} in ${region} has ${IPAddress ?? ''}.`;
  if (!forwards(rule, way.port)) {
    const what = `It does not forward tcp:${way.port}.`;
    const cure = gcloud('forwarding-rules', 'describe', name ?? '', ...here);
    return { state: 'broken', evidence: [what, note], cure };
  }
  const from = regionOf(gcpRef(way.node).zone);
  if (region && region !== from && !allowGlobalAccess) {
    const what = `It is for clients in its own region, and the node is in ${from}.`;
    const cure = gcloud('forwarding-rules', 'update', name ?? '', ...here, '--allow-global-access');
    return { state: 'broken', evidence: [what, note], cure };
  }
  if (loadBalancingScheme === 'INTERNAL_MANAGED') {
    return {
      state: 'ok',
      evidence: [note, 'It is a proxy: VPC firewall rules do not keep clients from it.'],
    };
  }
  return intoNetwork(scene, ref, [note]);
}

function forwards({ IPProtocol, allPorts, ports, portRange }: ForwardingRule, port: number): boolean {
  if (IPProtocol && !['TCP', 'L3_DEFAULT'].includes(IPProtocol)) return false;
  const ranges = [...(ports ?? []), ...(portRange ? [portRange] : [])];
  if (allPorts || ranges.length === 0) return true;
  return ranges.some((range) => hasPort(range, port));
}

/** What a rule is to let in: every node of the subnet, for others come to be. */
async function sourceRange({ view, way, ref }: Scene): Promise<string> {
  const subnets = await orUnseen(view.subnetworks(ref));
  const ranges = subnets instanceof Unseen ? [] : subnets.flatMap(rangesOf);
  return ranges.find((range) => contains(parseCidr(range), way.source)) ?? way.source.text;
}
