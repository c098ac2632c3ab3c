import type { CheckResult } from '../../core/doctor/check';
import { toCidr } from '../../core/model/cidr';
import { isInternal } from '../../core/model/reserved-ranges';
import { definedOnly } from '../../core/util/collections';
import { peeringFix } from './check-peering';
import { routeCommand } from './fix-command';
import { undefinedIfDenied, type NetworkReader } from './network-reader';
import type { NextHop, RemoteVpc, PathContext } from './path-context';
import { rangeWith, type Peering } from './peerings';
import { lookUpRoutes, type MatchedRoute, type RouteLookup } from './route-lookup';

/** Checks whether the node's subnet has a route to the destination. */
export async function checkForwardRoute(context: PathContext): Promise<CheckResult> {
  const { ec2, home, subnetId } = context;
  const { destination } = context.connection;
  const found = await context.forwardRoute();
  if (!found) return { state: 'unknown', evidence: [`Found no route table of ${subnetId}.`] };
  const nextHop = await undefinedIfDenied(context.nextHop());
  const peering = nextHop?.kind === 'peering' ? nextHop.peering : undefined;
  const fix = routeCommand(ec2, 'create-route', {
    location: home,
    tableId: found.tableId,
    destination: (peering && rangeWith(peering.remote, destination)?.text) ?? toCidr(destination).text,
    targetId: peering?.id ?? 'PEERING_ID',
  });
  if (!found.route) {
    const evidence = `${found.tableId}, the route table of ${subnetId}, has no route to ${destination.text}.`;
    const isFixable = peering !== undefined || isInternal(destination);
    return definedOnly({
      state: 'broken' as const,
      evidence: [evidence],
      fix: isFixable ? fix : undefined,
    });
  }
  if (found.route.target.kind === 'internet' && nextHop?.kind !== 'other') {
    const evidence = `${formatRoute(found.route)}: traffic to ${destination.text} would go to the internet.`;
    return { state: 'broken', evidence: [evidence], fix };
  }
  return evaluateForwardRoute(context, found.route, peering);
}

function formatRoute({ tableId, destination, target }: MatchedRoute): string {
  return target.kind === 'local'
    ? `${tableId} routes ${destination} locally`
    : `${tableId} routes ${destination} to ${target.id}`;
}

function evaluateForwardRoute(
  context: PathContext,
  route: MatchedRoute,
  peering: Peering | undefined,
): CheckResult {
  const { ec2, home, connection } = context;
  const text = formatRoute(route);
  const replaceWith = ({ id }: Peering) =>
    routeCommand(ec2, 'replace-route', { ...route, location: home, targetId: id });
  if (peering && route.target.id !== peering.id) {
    const actual = route.isBlackhole ? `${text}, a blackhole` : text;
    const expected = `${peering.id} is the peering with ${peering.remote.vpcId}, which contains ${connection.destination.text}`;
    return { state: 'broken', evidence: [`${actual}; ${expected}.`], fix: replaceWith(peering) };
  }
  if (peering && peering.status !== 'active') {
    const evidence = `${text}, which carries no traffic while it is ${peering.status}.`;
    return { state: 'broken', evidence: [evidence], fix: peeringFix(context, peering) };
  }
  if (!route.isBlackhole) return { state: 'ok', evidence: [`${text}.`] };
  return {
    state: 'broken',
    evidence: [`${text}, a blackhole: ${route.target.id} was deleted or detached.`],
    fix: peering
      ? replaceWith(peering)
      : ec2(home, 'describe-route-tables', '--route-table-ids', route.tableId),
  };
}

/** Checks whether the destination's subnet has a route back to the source. */
export async function checkReturnRoute(context: PathContext): Promise<CheckResult> {
  const nextHop = await context.nextHop();
  const remote = await context.remote();
  if (!remote) return unknownReturnRoute(context, nextHop);
  const { vpcId, account, region, reader } = remote;
  const peering = nextHop.kind === 'peering' ? nextHop.peering : undefined;
  if (peering?.local.ranges && !rangeWith(peering.local, context.connection.source))
    return foreignSource(context);
  if (!reader) {
    const evidence = `Cannot read the route tables of ${vpcId}: it is in account ${account}, ${region}.`;
    const fix = context.ec2(remote, 'describe-route-tables', '--filters', `Name=vpc-id,Values=${vpcId}`);
    return { state: 'unknown', evidence: [evidence], fix };
  }
  return evaluateReturnRoute(context, { ...remote, reader }, peering);
}

async function evaluateReturnRoute(
  context: PathContext,
  remote: RemoteVpc & { readonly reader: NetworkReader },
  peering: Peering | undefined,
): Promise<CheckResult> {
  const { source } = context.connection;
  const { vpcId } = remote;
  const subnetId = await context.remoteSubnet();
  const found = await lookUpRoutes(remote.reader, definedOnly({ vpcId, subnetId }), source);
  if (!found) return { state: 'unknown', evidence: [`Found no route table of ${vpcId}.`] };
  const { tableId, route } = found;
  const fix = returnRouteFix(context, { ...found, remote, peering });
  if (!route) {
    const evidence = `${tableId}, the route table of ${subnetId ?? vpcId}, has no route to ${source.text}.`;
    return { state: 'broken', evidence: [evidence], fix };
  }
  const leadsBack = peering ? route.target.id === peering.id : route.target.kind !== 'internet';
  const text = formatRoute(route);
  if (leadsBack && !route.isBlackhole) return { state: 'ok', evidence: [`${text}.`] };
  const actual = route.isBlackhole ? `${text}, a blackhole` : text;
  const evidence = `${actual}: return traffic from ${vpcId} does not reach ${source.text}.`;
  return { state: 'broken', evidence: [evidence], fix };
}

function returnRouteFix(
  { ec2, connection, instanceId }: PathContext,
  {
    remote,
    tableId,
    route,
    peering,
  }: RouteLookup & { readonly remote: RemoteVpc; readonly peering: Peering | undefined },
): string {
  const { source } = connection;
  const destination = (peering && rangeWith(peering.local, source)?.text) ?? toCidr(source).text;
  const action = route?.destination === destination ? 'replace-route' : 'create-route';
  const targetId = peering?.id ?? instanceId;
  return routeCommand(ec2, action, { location: remote, tableId, destination, targetId });
}

/**
 * The result for a source address outside the node's VPC. A peering carries traffic only between the CIDR blocks of
 * its two VPCs (VPC peering guide, limitations).
 */
function foreignSource({ connection, vpcId, instanceId }: PathContext): CheckResult {
  const evidence = `${connection.source.text} is not an address of ${vpcId}, and a peering carries only addresses of its two VPCs: the packet has to leave with the node's address.`;
  return { state: 'broken', evidence: [evidence], fix: `npx peermasq plan --node ${instanceId}` };
}

function unknownReturnRoute(context: PathContext, nextHop: NextHop): CheckResult {
  const { connection } = context;
  if (!('route' in nextHop)) {
    const evidence = `No peering leads to ${connection.destination.text}, so there is no route table to check.`;
    return { state: 'unknown', evidence: [evidence] };
  }
  const { id } = nextHop.route.target;
  const evidence = `Cannot check the network behind ${id}; it needs a route to ${connection.source.text}.`;
  return definedOnly({ state: 'unknown' as const, evidence: [evidence], fix: describeGateway(context, id) });
}

function describeGateway({ ec2, home }: PathContext, id: string): string | undefined {
  if (id.startsWith('vgw-'))
    return ec2(home, 'describe-vpn-connections', '--filters', `Name=vpn-gateway-id,Values=${id}`);
  if (id.startsWith('tgw-')) {
    const filter = `Name=transit-gateway-id,Values=${id}`;
    return ec2(home, 'describe-transit-gateway-attachments', '--filters', filter);
  }
  return undefined;
}
