import * as z from 'zod';
import { apiCallParser, type RoutesChanged } from './event';

/** The API calls that change which traffic is routed over a peering or a gateway. */
export const routeCalls = [
  'CreateVpcPeeringConnection',
  'AcceptVpcPeeringConnection',
  'DeleteVpcPeeringConnection',
  'CreateRoute',
  'ReplaceRoute',
  'DeleteRoute',
  'AssociateRouteTable',
  'DisassociateRouteTable',
  'ReplaceRouteTableAssociation',
] as const;

const detailSchema = z.object({ eventName: z.enum(routeCalls) });

export const routesChanged = apiCallParser<RoutesChanged>(routeCalls, (event) => {
  const { eventName: change } = detailSchema.parse(event.detail);
  return { kind: 'routes-changed', change, account: event.account, at: new Date(event.time) };
});
