import type { Cloud } from '../core/ports';
import { makeChannel, type ChannelOptions } from './channel';
import { clientsFor, type Clients } from './clients';
import { makeNodes } from './nodes';
import { makeRoutes } from './routes';

export interface AwsOptions extends ChannelOptions {
  readonly region: string;
  /** Those of the process, unless given. */
  readonly clients?: Clients;
}

/** One region of the account whose credentials the process has. */
export function makeAwsCloud({ region, clients = clientsFor(region), ...options }: AwsOptions): Cloud {
  return {
    nodes: makeNodes(clients),
    routes: makeRoutes(clients),
    channel: makeChannel(clients, options),
  };
}
