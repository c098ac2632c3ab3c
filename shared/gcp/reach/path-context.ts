import { PermanentError } from '../../core/model/errors';
import type { Connection } from '../../core/doctor/check';
import { lazy } from '../../core/util/memoize';
import type { GcpNode, Instance } from '../discover/instance';
import { networkOf, regionOf, type NetworkRef } from '../discover/networks';
import type { NetworkReader } from './network-reader';
import { findNextHop, type NextHop } from './next-hop';
import { lookUpRoutes, type CandidateRoutes, type NetworkLocation } from './route-lookup';

/** One connection, and what its checks share. Everything is read on first use. @throws AccessDenied */
export interface PathContext {
  readonly reader: NetworkReader;
  readonly connection: Connection<GcpNode>;
  readonly instance: Instance;
  /** The node's network. */
  readonly ref: NetworkRef;
  localNetwork(): Promise<NetworkLocation>;
  /** The routes of the node's network to the destination. */
  candidates(): Promise<CandidateRoutes>;
  nextHop(): Promise<NextHop>;
}

export function makePathContext(reader: NetworkReader, connection: Connection<GcpNode>): PathContext {
  const { destination, node } = connection;
  const { instance } = node;
  const ref = networkOf(instance);
  if (!ref) throw networkGone(node.name);
  const localNetwork = lazy(async (): Promise<NetworkLocation> => {
    const network = await reader.network(ref);
    if (!network) throw networkGone(node.name);
    return { ref, network, region: regionOf(node.ref.zone), instance };
  });
  const candidates = lazy(async () => lookUpRoutes(reader, await localNetwork(), destination));
  const nextHop = lazy(async () => {
    const { network } = await localNetwork();
    return findNextHop({ reader, ref, network, destination, candidates: await candidates() });
  });
  return { reader, connection, instance, ref, localNetwork, candidates, nextHop };
}

const networkGone = (node: string) =>
  new PermanentError(
    'not-found',
    `The network of ${node} no longer exists`,
    'Check that the node is running.',
  );
