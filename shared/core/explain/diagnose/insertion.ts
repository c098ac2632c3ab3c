import type { BaseChain, Condition, Family, Rule, RuleMatch } from '../model';
import { formatAddress, protocolNumber, singleRange } from '../ranges';
import type { Packet } from '../simulate/packet';
import type { PacketState } from '../simulate/packet-state';
import { replaceRules } from '../simulate/what-if';
import type { Snapshot } from '../snapshot';

/**
 * A rule at the beginning of a base chain, for one source and some destinations. In a base chain, `accept` ends only
 * that chain: chains of other backends and tables still run.
 */
export interface Insertion {
  /** A base chain of the snapshot, or one that does not exist yet. */
  readonly at: BaseChain;
  readonly verdict: 'masquerade' | 'accept';
  readonly family: Family;
  readonly source: bigint;
  readonly destination: InsertionDestination;
  /** Limits the rule to a protocol and, if known, to a destination port. */
  readonly service: Service | undefined;
}

/** The destinations as the chain sees them, or the one before translation if the new one is unknown. */
export type InsertionDestination =
  | { readonly kind: 'current'; readonly addresses: readonly bigint[] }
  | { readonly kind: 'original'; readonly address: bigint };

export interface Service {
  readonly protocol: Packet['protocol'];
  readonly port: number | undefined;
}

/** The maximum number of addresses in a command. */
const maxAddresses = 8;

/** Returns the destination that a rule has to match for packets in these states. */
export function destinationOf(
  states: readonly Pick<PacketState, 'destination'>[],
  { destination }: Packet,
): InsertionDestination {
  const addresses = states.map((state) => state.destination);
  const known = addresses.filter((address) => address !== undefined);
  const different = [...new Set(known)].sort((a, b) => (a < b ? -1 : 1));
  if (known.length < addresses.length || different.length > maxAddresses)
    return { kind: 'original', address: destination.value };
  return { kind: 'current', addresses: different };
}

/** Returns the snapshot as it would be with the rule. */
export function insert(snapshot: Snapshot, insertion: Insertion): Snapshot {
  const { at } = insertion;
  const isPresent = snapshot.baseChains.some(({ chain }) => chain === at.chain);
  const complete = isPresent ? snapshot : { ...snapshot, baseChains: [...snapshot.baseChains, at] };
  return replaceRules(complete, new Map([[at.chain, [ruleOf(insertion), ...at.chain.rules]]]));
}

function ruleOf({ verdict, family, source, destination, service }: Insertion): Rule {
  const matches: RuleMatch[] = [
    match({ kind: 'address', field: 'source', family, ranges: [singleRange(source)] }),
    destination.kind === 'current'
      ? match({
          kind: 'address',
          field: 'destination',
          family,
          ranges: destination.addresses.map(singleRange),
        })
      : match({
          kind: 'address',
          field: 'original-destination',
          family,
          ranges: [singleRange(destination.address)],
        }),
  ];
  if (service) {
    const { protocol, port } = service;
    matches.push(match({ kind: 'protocol', ranges: [singleRange(protocolNumber(protocol) ?? -1)] }));
    if (port !== undefined)
      matches.push(match({ kind: 'port', field: 'destination', ranges: [singleRange(port)] }));
  }
  return { number: 1, text: `(${verdict})`, matches, targets: [{ kind: verdict }] };
}

const match = (condition: Condition): RuleMatch => ({ ...condition, isNegated: false, text: '' });

/** The addresses as text, for a command. */
export const addressTexts = ({ family, destination }: Insertion): string[] =>
  (destination.kind === 'current' ? destination.addresses : [destination.address]).map((address) =>
    formatAddress(family, address),
  );
