import { failing, walk, type Fate, type Sight, type Walked } from './walk';
import type { Backend, Base, Rule, Snapshot } from './model';
import type { Cause, Packet } from './packet';
import { removalOf } from './cure';
import { missed, nameOf } from './path';

export interface Finding {
  readonly cause: Cause;
  readonly reason: string;
  /** The backend that the cure is for; undefined where nothing is to be cured. */
  readonly backend: Backend | undefined;
  /** Another cure than a rule. */
  readonly cure?: string | null;
}

/** The rule set of peermasq: its chain in iptables, its table in nft. */
export const isOwn = ({ base, chain }: Pick<Sight, 'base' | 'chain'>): boolean =>
  chain.name === 'PEERMASQ' || base.table.name.endsWith(' peermasq');

/** Chains that a kubelet leaves in table mangle so that others find its backend. */
const hints = ['KUBE-IPTABLES-HINT', 'KUBE-KUBELET-CANARY'];

/** The backend of the node's own rules: the kubelet's, else that with most rules in table nat, if there are any. */
export function backendOf({ bases }: Snapshot): Backend | undefined {
  const hinted = bases.find(({ table }) => hints.some((hint) => table.chains.has(hint)));
  if (hinted) return hinted.table.backend;
  const counts = new Map<Backend, number>();
  const seen = bases.filter(({ isNat, hidden }) => isNat && hidden === undefined);
  for (const table of new Set(seen.map((base) => base.table))) {
    const isForeign = (rule: Rule) => !rule.text.includes('PEERMASQ');
    const isPeermasq = table.name.endsWith(' peermasq');
    const count = isPeermasq
      ? 0
      : [...table.chains.values()].flatMap(({ rules }) => rules).filter(isForeign).length;
    if (count > 0) counts.set(table.backend, (counts.get(table.backend) ?? 0) + count);
  }
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0];
}

/** Where there are no rules to go by: what the dump was printed by. */
const usualOf = ({ backends }: Snapshot): Backend =>
  (['iptables-nft', 'iptables-legacy', 'nft'] as const).find((one) => backends.has(one)) ?? 'iptables-nft';

export function causeOf(snapshot: Snapshot, packet: Packet, walked: Walked): Finding {
  const { fates } = walked;
  const leaving = fates.filter((fate) => fate.kind === 'leaves');
  const dropped = fates.find((fate) => fate.kind === 'dropped');
  if (leaving.length === 0) {
    return dropped
      ? { cause: 'dropped', reason: `It is dropped on the node: ${dropped.by}.`, backend: undefined }
      : { cause: 'stays-on-node', reason: 'Its destination is the node itself.', backend: undefined };
  }
  const backend = backendOf(snapshot);
  const translated = leaving.filter(({ translation }) => translation !== undefined);
  const may = dropped ? ` It may also be dropped: ${dropped.by}.` : '';
  const finding =
    translated.length === 0
      ? notMasqueraded(snapshot, packet, walked, backend)
      : translated.length < leaving.length
        ? unknown(walked, backend ?? usualOf(snapshot))
        : masqueraded(walked, translated, backend);
  return { ...finding, reason: finding.reason + may };
}

function masqueraded(
  { sights }: Walked,
  fates: readonly Extract<Fate, { kind: 'leaves' }>[],
  own: Backend | undefined,
): Finding {
  const rules = new Set(fates.map(({ translation }) => translation?.by));
  const by = sights.filter(({ rule }) => rules.has(rule));
  const names = by.map(nameOf).join(' or ');
  const reason = `It is masqueraded by ${names}.`;
  const isStranger =
    own !== undefined && by.every((sight) => isOwn(sight) && sight.base.table.backend !== own);
  if (!isStranger) return { cause: 'masqueraded', reason, backend: undefined };
  const warning = `Only that does it, and the node's own rules are in ${own}: kernels before 4.18 listen to one of the two, and what watches ${own} does not see it.`;
  return { cause: 'wrong-backend', reason: `${reason} ${warning}`, backend: own };
}

function unknown({ sights }: Walked, backend: Backend): Finding {
  const open = sights.filter(({ answer }) => answer === 'unknown');
  const hidden = open.find(({ base }) => base.hidden !== undefined)?.base.hidden;
  if (hidden !== undefined)
    return { cause: 'unknown', reason: `That depends on ${hidden}.`, backend: undefined };
  const [first] = open;
  const reason = first
    ? `That depends on ${nameOf(first)}, which cannot be decided from here${open.length > 1 ? `, and on ${open.length - 1} more` : ''}.`
    : 'That depends on the order in which chains of the same priority act, which no dump tells.';
  return { cause: 'unknown', reason, backend };
}

function notMasqueraded(
  snapshot: Snapshot,
  packet: Packet,
  walked: Walked,
  own: Backend | undefined,
): Finding {
  const backend = own ?? usualOf(snapshot);
  if (packet.isFromNode) {
    const reason =
      'It begins on the node, and no rule gives it another source: it leaves with the address that it has.';
    return { cause: 'no-rule', reason, backend: undefined };
  }
  return (
    untracked(snapshot, packet, walked) ??
    exempt(walked, backend) ??
    shadowed(snapshot, packet, walked, backend) ??
    inWrongBackend(snapshot, backend) ?? { cause: 'no-rule', reason: noRule(walked), backend }
  );
}

/** Rules of type nat never see what conntrack does not: more rules of theirs would cure nothing. */
function untracked(snapshot: Snapshot, packet: Packet, { sights }: Walked): Finding | undefined {
  const taking = sights.filter(
    ({ rule, answer }) => answer !== false && rule.targets.some(({ kind }) => kind === 'notrack'),
  );
  const by = taking.find(({ answer }) => answer === true);
  if (!by || sights.some(({ base }) => base.isNat)) return undefined;
  const behind = translatedBy(walk(snapshot, packet, new Set(taking.map(({ rule }) => rule))));
  const reason = [
    `${capital(nameOf(by))} takes it out of conntrack, and nothing untracked is masqueraded: ${by.rule.text}.`,
    ...(behind ? [`Without it, ${nameOf(behind)} would masquerade: ${behind.rule.text}`] : []),
  ].join(' ');
  const cure = removalOf(by, packet.destination.family === 6);
  return { cause: 'untracked', reason, backend: undefined, cure };
}

function exempt({ sights }: Walked, backend: Backend): Finding | undefined {
  const sight = sights.find((one) => isOwn(one) && one.answer === true && ends(one));
  if (!sight) return undefined;
  const reason = `It is exempt in peermasq's own rule set: ${nameOf(sight)} returns before any masquerade rule: ${sight.rule.text}`;
  return { cause: 'exempt', reason, backend };
}

const ends = ({ rule }: Sight) => rule.targets.some(({ kind }) => kind === 'return' || kind === 'accept');

/** A gate by mark or state lets only some packets in on purpose: nothing that stands in the way of the others. */
const isGate = ({ rule }: Sight) => rule.matches.some(({ kind }) => kind === 'mark' || kind === 'state');

const isInTheWay = (sight: Sight) =>
  sight.base.isNat &&
  sight.base.hook === 'postrouting' &&
  sight.answer === true &&
  ends(sight) &&
  !isGate(sight);

/** More rules in the way, one behind the other, are not looked for. */
const maxShadows = 8;

/** Takes away what stands in the way, one rule after the other, until the packet is masqueraded. */
function shadowed(snapshot: Snapshot, packet: Packet, walked: Walked, backend: Backend): Finding | undefined {
  const ignored = new Set<Rule>();
  let { sights } = walked;
  let first: Sight | undefined;
  for (let removed = 0; removed < maxShadows; removed++) {
    const inTheWay = sights.find(isInTheWay);
    if (!inTheWay) return undefined;
    first ??= inTheWay;
    ignored.add(inTheWay.rule);
    const other = walk(snapshot, packet, ignored);
    const behind = translatedBy(other);
    if (behind) {
      const reason = `${nameOf(first)} stands in the way: ${first.rule.text}. Behind it, ${nameOf(behind)} would masquerade: ${behind.rule.text}`;
      return { cause: 'shadowed', reason: capital(reason), backend };
    }
    sights = other.sights;
  }
  return undefined;
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

/** The rule that certainly gives the packet another source. */
function translatedBy({ fates, sights }: Walked): Sight | undefined {
  const leaving = fates.filter((fate) => fate.kind === 'leaves');
  if (leaving.some(({ translation }) => !translation)) return undefined;
  return sights.find(({ rule }) => leaving.some(({ translation }) => translation?.by === rule));
}

function inWrongBackend({ bases }: Snapshot, own: Backend): Finding | undefined {
  const peermasq = bases.filter((base) => ownChain(base));
  const elsewhere = peermasq.find(({ table }) => table.backend !== own);
  if (!elsewhere || peermasq.some(({ table }) => table.backend === own)) return undefined;
  const reason = `No rule masquerades it, and peermasq's rules are in ${elsewhere.table.backend}, while the node's own are in ${own}.`;
  return { cause: 'wrong-backend', reason, backend: own };
}

const ownChain = ({ table, isNat }: Base) =>
  isNat && (table.chains.has('PEERMASQ') || table.name.endsWith(' peermasq'));

function noRule({ sights }: Walked): string {
  const near = missed(sights)
    .map((sight) => ({ sight, matches: failing(sight) }))
    .sort((a, b) => rank(a.matches) - rank(b.matches))[0];
  if (!near) return 'No rule of the node masquerades anything on its way.';
  const excluded = near.matches.map(({ text }) => text).join(' and ');
  return `No rule masquerades it. The nearest, ${nameOf(near.sight)}, asks for ${excluded}: ${near.sight.rule.text}`;
}

/** Few reasons are near, and a destination that is left out is the nearest. */
const rank = (matches: ReturnType<typeof failing>) =>
  2 * matches.length - (matches.some(({ kind, text }) => kind === 'address' && text.includes('-d')) ? 1 : 0);
