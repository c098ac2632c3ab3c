import type { LastingFix, Want } from '../explanation';
import { formatAddress } from '../ranges';
import type { DropPoint, Evaluation } from '../simulate/trace';
import { egressOf } from '../simulate/walk';
import type { Snapshot } from '../snapshot';
import { firewalls } from './firewalls';
import { peermasqBackends } from './node-backend';
import { owners, peermasq, type AdviceContext, type Owner } from './owners';
import type { RootCause, TracedPacket } from './root-cause';

/** Returns how to change the behavior where the program that owns the deciding rule is configured. */
export function findLastingFix(traced: TracedPacket, { rules }: RootCause, want: Want): LastingFix | null {
  const egress = egressOf(traced.trace);
  if (egress.length === 0) return findFirewallFix(traced);
  const context = adviceContext(traced);
  const candidates = [
    // peermasq can masquerade any destination, whatever the other programs do.
    ...(want === 'masqueraded' && peermasqBackends(traced.snapshot).size > 0 ? [peermasq] : []),
    ...rules.map(ownerOf),
    ...(want === 'masqueraded' ? [findInstalledOwner(traced.snapshot)] : []),
  ];
  for (const owner of candidates) {
    const advice = owner && (want === 'direct' ? owner.direct : owner.masquerade);
    if (owner && advice) return { owner: owner.name, advice: advice(context) };
  }
  return null;
}

const ownerOf = (rule: Pick<Evaluation, 'chain' | 'rule'>): Owner | undefined =>
  owners.find(({ owns }) => owns(rule));

/**
 * Returns the owner of any rule, for nodes on which a CNI plugin is installed but has no masquerade rules, for example
 * because AWS_VPC_K8S_CNI_EXTERNALSNAT is set.
 */
function findInstalledOwner({ baseChains }: Snapshot): Owner | undefined {
  for (const table of new Set(baseChains.map((baseChain) => baseChain.table)))
    for (const chain of table.chains.values())
      for (const rule of chain.rules) {
        const owner = ownerOf({ chain, rule });
        if (owner?.masquerade && owner !== peermasq) return owner;
      }
  return undefined;
}

function adviceContext({ packet, trace }: TracedPacket): AdviceContext {
  const { family, value: source } = packet.source;
  const [first] = egressOf(trace);
  const destination = first?.destination ?? packet.destination.value;
  return {
    family,
    destination: formatAddress(family, destination),
    source: formatAddress(family, source),
  };
}

function findFirewallFix({ trace }: TracedPacket): LastingFix | null {
  for (const verdict of trace.verdicts) {
    const firewall = verdict.kind === 'dropped' && verdict.at ? firewallOf(verdict.at) : undefined;
    if (firewall) return { owner: firewall.name, advice: firewall.advice };
  }
  return null;
}

const firewallOf = ({ chain, baseChain }: DropPoint) => firewalls.find(({ owns }) => owns(chain, baseChain));
