import { addressOf } from '../../core/model/cidr';
import type { Check } from '../../core/doctor/check';
import { isInternal } from '../../core/model/reserved-ranges';
import { type AccountRegion } from './fix-command';
import { peeringFix, rangeWith, type Peering } from './check-peering';
import type { RemoteVpc, NextHop, PathContext } from './path-context';
import { undefinedIfDenied } from './network-reader';
import { lookUpRoutes, type MatchedRoute } from './route-lookup';

type CheckResult = Omit<Check, 'name'>;

/** The route from the node's subnet to the destination. */
export async function checkForwardRoute(context: PathContext): Promise<Check> {
  const name = 'forward-route';
  const found = await context.forwardRoute();
  if (!found) {
    return { name, state: 'unknown', evidence: [`No route table of ${context.subnetId} is to be seen.`] };
  }
  const nextHop = await undefinedIfDenied(context.nextHop());
  const peering = nextHop?.kind === 'peering' ? nextHop.peering : undefined;
  const address = addressOf(context.connection.destination);
  const add = addRoute(context, context.home, found.tableId, {
    destination:
      (peering && rangeWith(peering.remote, context.connection.destination)?.text) ??
      context.connection.destination.text,
    peeringId: peering?.id ?? 'PEERING_ID',
  });
  if (!found.route) {
    const evidence = [`${found.tableId}, the table of ${context.subnetId}, has no route to ${address}.`];
    const isFixable = peering !== undefined || isInternal(context.connection.destination);
    return { name, state: 'broken', evidence, ...(isFixable && { fix: add }) };
  }
  const { target } = found.route;
  if (target.kind === 'internet' && nextHop?.kind !== 'other') {
    const evidence = [`${formatRoute(found.route)}: ${address} would leave for the internet.`];
    return { name, state: 'broken', evidence, fix: add };
  }
  return { name, ...evaluateForwardRoute(context, found.route, peering) };
}

const formatRoute = ({ tableId, destination, target }: MatchedRoute): string =>
  target.kind === 'local'
    ? `The route to ${destination} in ${tableId} is the local one`
    : `The route to ${destination} in ${tableId} goes over ${target.id}`;

function evaluateForwardRoute(
  context: PathContext,
  route: MatchedRoute,
  peering: Peering | undefined,
): CheckResult {
  const text = formatRoute(route);
  if (peering && route.target.id !== peering.id) {
    const other = `${peering.id} is the peering with ${peering.remote.vpcId}, which has ${addressOf(context.connection.destination)}`;
    const state = route.isBlackhole ? `${text}, a blackhole` : text;
    return { state: 'broken', evidence: [`${state}; ${other}.`], fix: replaceRoute(context, route, peering) };
  }
  if (peering && peering.status !== 'active') {
    const evidence = [`${text}, which leads nowhere while it is ${peering.status}.`];
    return { state: 'broken', evidence, fix: peeringFix(context, peering) };
  }
  if (!route.isBlackhole) return { state: 'ok', evidence: [`${text}.`] };
  const fix = peering
    ? replaceRoute(context, route, peering)
    : describeTable(context, context.home, route.tableId);
  return {
    state: 'broken',
    evidence: [`${text}, a blackhole: ${route.target.id} is gone or detached.`],
    fix,
  };
}

interface NewRoute {
  readonly destination: string;
  readonly peeringId: string;
}

const destinationOption = (destination: string): string =>
  destination.startsWith('pl-')
    ? '--destination-prefix-list-id'
    : destination.includes(':')
      ? '--destination-ipv6-cidr-block'
      : '--destination-cidr-block';

function routeArgs(tableId: string, { destination, peeringId }: NewRoute): string[] {
  const to = [destinationOption(destination), destination, '--vpc-peering-connection-id', peeringId];
  return ['--route-table-id', tableId, ...to];
}

const addRoute = ({ ec2 }: PathContext, location: AccountRegion, tableId: string, route: NewRoute): string =>
  ec2(location, 'create-route', ...routeArgs(tableId, route));

const replaceRoute = (
  { ec2, home }: PathContext,
  { tableId, destination }: MatchedRoute,
  { id }: Peering,
): string => ec2(home, 'replace-route', ...routeArgs(tableId, { destination, peeringId: id }));

const describeTable = ({ ec2 }: PathContext, location: AccountRegion, tableId: string): string =>
  ec2(location, 'describe-route-tables', '--route-table-ids', tableId);

/** The route from the destination's subnet back to the source. */
export async function checkReturnRoute(context: PathContext): Promise<Check> {
  const name = 'return-route';
  const nextHop = await context.nextHop();
  const remote = await context.remote();
  if (!remote) return { name, ...unknownReturnRoute(context, nextHop) };
  if (!remote.reader) {
    const evidence = [
      `The route tables of ${remote.vpcId} are those of account ${remote.account}, and not to be seen from here.`,
    ];
    const fix = context.ec2(
      remote,
      'describe-route-tables',
      '--filters',
      `Name=vpc-id,Values=${remote.vpcId}`,
    );
    return { name, state: 'unknown', evidence, fix };
  }
  return { name, ...(await evaluateReturnRoute(context, nextHop, remote, remote.reader)) };
}

async function evaluateReturnRoute(
  context: PathContext,
  nextHop: NextHop,
  remote: RemoteVpc,
  reader: NonNullable<RemoteVpc['reader']>,
): Promise<CheckResult> {
  const { source } = context.connection;
  const peering = nextHop.kind === 'peering' ? nextHop.peering : undefined;
  if (peering?.local.ranges && !rangeWith(peering.local, source))
    return { state: 'broken', ...foreignSource(context) };
  const subnetId = await context.remoteSubnet();
  const found = await lookUpRoutes(
    reader,
    { vpcId: remote.vpcId, ...(subnetId !== undefined && { subnetId }) },
    source,
  );
  if (!found) return { state: 'unknown', evidence: [`No route table of ${remote.vpcId} is to be seen.`] };
  const { tableId, route } = found;
  const table = `${tableId}, the table of ${subnetId ?? remote.vpcId},`;
  const isRight = peering
    ? route?.target.id === peering.id && !route.isBlackhole
    : route !== undefined && route.target.kind !== 'internet' && !route.isBlackhole;
  if (route && isRight) return { state: 'ok', evidence: [`${formatRoute(route)}.`] };
  const evidence = route
    ? [
        `${formatRoute(route)}${route.isBlackhole ? ', a blackhole' : ''}: what ${remote.vpcId} answers does not come back.`,
      ]
    : [`${table} has no route to ${addressOf(source)}.`];
  return { state: 'broken', evidence, fix: returnRouteFix(context, remote, found, peering) };
}

function returnRouteFix(
  context: PathContext,
  remote: RemoteVpc,
  { tableId, route }: { readonly tableId: string; readonly route?: MatchedRoute },
  peering: Peering | undefined,
): string {
  const { source } = context.connection;
  const range = (peering && rangeWith(peering.local, source)?.text) ?? source.text;
  // The same range cannot be routed twice.
  const action = route?.destination === range ? 'replace-route' : 'create-route';
  const text = peering
    ? routeArgs(tableId, { destination: range, peeringId: peering.id })
    : ['--route-table-id', tableId, destinationOption(range), range, '--instance-id', context.instanceId];
  return context.ec2(remote, action, ...text);
}

/** A peering carries the addresses of its two VPCs and no others (VPC peering guide, limitations). */
const foreignSource = ({ connection, vpcId, instanceId }: PathContext) => ({
  evidence: [
    `${addressOf(connection.source)} is no address of ${vpcId}, and a peering carries no others: it has to leave with the node's.`,
  ],
  fix: `npx peermasq plan --node ${instanceId}`,
});

function unknownReturnRoute(context: PathContext, nextHop: NextHop): CheckResult {
  if (nextHop.kind !== 'other') {
    const evidence = [
      `No peering leads to ${addressOf(context.connection.destination)}, so there is no table to look at.`,
    ];
    return { state: 'unknown', evidence };
  }
  const { id } = nextHop.route.target;
  const evidence = [
    `What lies behind ${id} is not to be seen from here; it needs a route to ${addressOf(context.connection.source)}.`,
  ];
  const fix = otherGatewayFix(context, id);
  return { state: 'unknown', evidence, ...(fix !== undefined && { fix }) };
}

function otherGatewayFix({ ec2, home }: PathContext, id: string): string | undefined {
  if (id.startsWith('vgw-')) {
    return ec2(home, 'describe-vpn-connections', '--filters', `Name=vpn-gateway-id,Values=${id}`);
  }
  if (!id.startsWith('tgw-')) return undefined;
  return ec2(
    home,
    'describe-transit-gateway-attachments',
    '--filters',
    `Name=transit-gateway-id,Values=${id}`,
  );
}
