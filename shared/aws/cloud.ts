import type { Cloud } from '../core/cloud';
import { makeChannel, type ChannelOptions } from './deliver/channel';
import type { Clients } from './client/clients';
import { makeNodes, type AwsNode } from './discover/nodes';
import { makeRoutes } from './discover/routes';

/** One region of one account: whose clients these are. */
export function makeCloud(clients: Clients, options: ChannelOptions): Cloud<AwsNode> {
  return {
    nodes: makeNodes(clients),
    routes: makeRoutes(clients),
    channel: makeChannel(clients, options),
  };
}
