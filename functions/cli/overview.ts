import { existsSync } from 'node:fs';
import { overviewOf, type Peer } from '../../shared/core/explain/overview/overview';
import { prefixRange } from '../../shared/core/explain/ranges';
import { isOwnAddress } from '../../shared/core/explain/simulate/routing';
import type { Snapshot } from '../../shared/core/explain/snapshot';
import type { Address } from '../../shared/core/model/cidr';
import type { Config } from '../../shared/core/model/config';
import { definedOnly } from '../../shared/core/util/collections';
import type { PacketOptions } from './connection';
import type { OverviewResult } from './format-overview';
import { configPath, readConfig } from './options';

interface OverviewOptions extends PacketOptions {
  readonly config?: string;
  readonly cluster?: readonly string[];
  readonly assumeComplete?: boolean;
}

/** Determines what a node does with packets from one source to every destination. */
export function gatherOverview(
  snapshot: Snapshot,
  source: Address,
  options: OverviewOptions,
): OverviewResult {
  const { family } = source;
  const isFromNode = isOwnAddress(snapshot, source);
  const packet = {
    source,
    isFromNode,
    protocol: options.protocol ?? 'tcp',
    ...definedOnly({ in: options.in, out: options.out }),
  } as const;
  const peers = configuredPeers(options, source);
  return {
    ...overviewOf(snapshot, packet, peers),
    title: `${source.text} → every destination`,
    family,
    assumedComplete: options.assumeComplete === true,
    warnings: snapshot.warnings,
  };
}

/** Returns the ranges that the config lists. The overview also works without a config. */
function configuredPeers({ config, cluster }: OverviewOptions, { family }: Address): Peer[] {
  const file = configPath(config);
  if (config === undefined && !existsSync(file)) return [];
  const isSelected = ({ name }: Config['clusters'][number]) => cluster?.includes(name) ?? true;
  return readConfig(file)
    .clusters.filter(isSelected)
    .flatMap(({ masquerade }) => masquerade.flatMap((entry) => (typeof entry === 'string' ? [] : [entry])))
    .filter(({ cidr }) => cidr.family === family)
    .map(({ name, cidr }) => ({ name, ...prefixRange(family, cidr.first, cidr.prefix) }));
}
