import { unknownMatch, type BaseChain, type Chain, type Family, type Rule } from '../model';
import { missingFor, type MissingPart, type Snapshot } from '../snapshot';
import { iptablesTables, priorityOf, runsBeforeConntrack, tableHooks } from '../tables';
import { unknownRoutingRules } from './policy-routing';

type MissingTables = Extract<MissingPart, { kind: 'tables' }>;

/**
 * Returns the snapshot with chains in place of the tables that the dump does not show. Their rules may do anything that
 * rules can do there, so a walk through this snapshot has every result that such rules can cause.
 */
export function withMissingRules(snapshot: Snapshot, family: Family): Snapshot {
  const missing = missingFor(snapshot, family);
  // A table of which only a part is shown is one of the missing tables.
  const shown = snapshot.baseChains.filter(({ table }) => table.isFragment !== true);
  const added = missing
    .filter((part) => part.kind === 'tables')
    .flatMap((part) => (part.backend === 'nft' ? nftChains(part, shown) : iptablesChains(part)));
  const isMissing = (kind: MissingPart['kind']) => missing.some((part) => part.kind === kind);
  return {
    ...snapshot,
    baseChains: [...shown, ...added],
    sets: isMissing('sets') ? new Map() : snapshot.sets,
    addresses: isMissing('addresses') ? [] : snapshot.addresses,
    routes: isMissing('routes') ? [] : snapshot.routes,
    completeRoutingTables: isMissing('routes') ? new Set() : snapshot.completeRoutingTables,
    routingRules: isMissing('routing-rules') ? unknownRoutingRules(family) : snapshot.routingRules,
  };
}

function iptablesChains({ backend, family, names = iptablesTables }: MissingTables): BaseChain[] {
  return names.flatMap((name) =>
    (tableHooks[name] ?? []).map((hook) =>
      missingChain({ backend, name, family, hook, priority: priorityOf(name, hook) }),
    ),
  );
}

/** nft allows chains at every priority, so one is placed before each chain that is shown. */
function nftChains({ backend, family }: MissingTables, shown: readonly BaseChain[]): BaseChain[] {
  const natChains = (tableHooks['nat'] ?? []).map((hook) =>
    missingChain({ backend, name: 'nat', family, hook, priority: priorityOf('nat', hook) }),
  );
  const otherChains = (tableHooks['mangle'] ?? []).flatMap((hook) => {
    const priorities = shown.filter((baseChain) => baseChain.hook === hook).map(({ priority }) => priority);
    const earliest = -400;
    return [...new Set([earliest, priorityOf('nat', hook), ...priorities])].map((priority) =>
      missingChain({ backend, name: 'filter', family, hook, priority: priority - 0.5 }),
    );
  });
  return [...natChains, ...otherChains];
}

type MissingChain = Pick<BaseChain, 'hook' | 'priority'> & {
  readonly backend: MissingTables['backend'];
  readonly family: Family;
  readonly name: string;
};

function missingChain({ backend, name, family, hook, priority }: MissingChain): BaseChain {
  const rules = runsBeforeConntrack({ hook, priority }) ? [anyEffect, mayUntrack] : [anyEffect];
  const chain: Chain = { name: hook.toUpperCase(), rules };
  const table = { backend, name, families: [family], chains: new Map([[chain.name, chain]]) };
  return { table, chain, hook, isNat: name === 'nat', priority, policy: 'accept' };
}

/** What an unknown target does includes doing nothing, so the packet does not also have to pass this rule by. */
const anyEffect: Rule = {
  number: 1,
  text: '(rules that are not shown)',
  matches: [],
  targets: [{ kind: 'unknown' }],
};

const mayUntrack: Rule = {
  number: 2,
  text: anyEffect.text,
  matches: [unknownMatch('its matches', 'not shown')],
  targets: [{ kind: 'notrack' }],
};
