import type { Cloud } from '../core/ports';
import { makeChannel, type ChannelOptions } from './channel';
import type { Clients } from './clients';
import { makeNodes } from './nodes';
import { makeRoutes } from './routes';

/** One region of one account: whose clients these are. */
export function makeCloud(clients: Clients, options: ChannelOptions): Cloud {
  return {
    nodes: makeNodes(clients),
    routes: makeRoutes(clients),
    channel: makeChannel(clients, options),
  };
}
