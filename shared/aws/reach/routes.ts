import { addressOf } from '../../core/cidr';
import type { Check } from '../../core/reach';
import { isInternal } from '../../core/reserved';
import { type Place } from './command';
import { cureOf, rangeWith, type Peering } from './peering';
import type { Far, Onward, Scene } from './scene';
import { ifAllowed } from './sight';
import { lookUp, type Hop } from './table';

type Verdict = Omit<Check, 'link'>;

/** The route from the node's subnet to the destination. */
export async function checkThere(scene: Scene): Promise<Check> {
  const link = 'route-there';
  const found = await scene.there();
  if (!found) {
    return { link, state: 'unknown', evidence: [`No route table of ${scene.subnetId} is to be seen.`] };
  }
  const onward = await ifAllowed(scene.onward());
  const peering = onward?.over === 'peering' ? onward.peering : undefined;
  const address = addressOf(scene.way.destination);
  const add = addRoute(scene, scene.home, found.tableId, {
    destination:
      (peering && rangeWith(peering.far, scene.way.destination)?.text) ?? scene.way.destination.text,
    peeringId: peering?.id ?? 'PEERING_ID',
  });
  if (!found.hop) {
    const evidence = [`${found.tableId}, the table of ${scene.subnetId}, has no route to ${address}.`];
    const isOurs = peering !== undefined || isInternal(scene.way.destination);
    return { link, state: 'broken', evidence, ...(isOurs && { cure: add }) };
  }
  const { target } = found.hop;
  if (target.kind === 'internet' && onward?.over !== 'beyond') {
    const evidence = [`${inWords(found.hop)}: ${address} would leave for the internet.`];
    return { link, state: 'broken', evidence, cure: add };
  }
  return { link, ...judge(scene, found.hop, peering) };
}

const inWords = ({ tableId, destination, target }: Hop): string =>
  target.kind === 'local'
    ? `The route to ${destination} in ${tableId} is the local one`
    : `The route to ${destination} in ${tableId} goes over ${target.id}`;

function judge(scene: Scene, hop: Hop, peering: Peering | undefined): Verdict {
  const words = inWords(hop);
  if (peering && hop.target.id !== peering.id) {
    const other = `${peering.id} is the peering with ${peering.far.vpcId}, which has ${addressOf(scene.way.destination)}`;
    const state = hop.isBlackhole ? `${words}, a blackhole` : words;
    return { state: 'broken', evidence: [`${state}; ${other}.`], cure: replaceRoute(scene, hop, peering) };
  }
  if (peering && peering.status !== 'active') {
    const evidence = [`${words}, which leads nowhere while it is ${peering.status}.`];
    return { state: 'broken', evidence, cure: cureOf(scene, peering) };
  }
  if (!hop.isBlackhole) return { state: 'ok', evidence: [`${words}.`] };
  const cure = peering ? replaceRoute(scene, hop, peering) : show(scene, scene.home, hop.tableId);
  return {
    state: 'broken',
    evidence: [`${words}, a blackhole: ${hop.target.id} is gone or detached.`],
    cure,
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

function routeWords(tableId: string, { destination, peeringId }: NewRoute): string[] {
  const to = [destinationOption(destination), destination, '--vpc-peering-connection-id', peeringId];
  return ['--route-table-id', tableId, ...to];
}

const addRoute = ({ ec2 }: Scene, place: Place, tableId: string, route: NewRoute): string =>
  ec2(place, 'create-route', ...routeWords(tableId, route));

const replaceRoute = ({ ec2, home }: Scene, { tableId, destination }: Hop, { id }: Peering): string =>
  ec2(home, 'replace-route', ...routeWords(tableId, { destination, peeringId: id }));

const show = ({ ec2 }: Scene, place: Place, tableId: string): string =>
  ec2(place, 'describe-route-tables', '--route-table-ids', tableId);

/** The route from the destination's subnet back to the source. */
export async function checkBack(scene: Scene): Promise<Check> {
  const link = 'route-back';
  const onward = await scene.onward();
  const far = await scene.far();
  if (!far) return { link, ...unseen(scene, onward) };
  if (!far.sight) {
    const evidence = [
      `The route tables of ${far.vpcId} are those of account ${far.account}, and not to be seen from here.`,
    ];
    const cure = scene.ec2(far, 'describe-route-tables', '--filters', `Name=vpc-id,Values=${far.vpcId}`);
    return { link, state: 'unknown', evidence, cure };
  }
  return { link, ...(await judgeBack(scene, onward, far, far.sight)) };
}

async function judgeBack(
  scene: Scene,
  onward: Onward,
  far: Far,
  sight: NonNullable<Far['sight']>,
): Promise<Verdict> {
  const { source } = scene.way;
  const peering = onward.over === 'peering' ? onward.peering : undefined;
  if (peering?.near.ranges && !rangeWith(peering.near, source)) return { state: 'broken', ...foreign(scene) };
  const subnetId = await scene.farSubnet();
  const found = await lookUp(
    sight,
    { vpcId: far.vpcId, ...(subnetId !== undefined && { subnetId }) },
    source,
  );
  if (!found) return { state: 'unknown', evidence: [`No route table of ${far.vpcId} is to be seen.`] };
  const { tableId, hop } = found;
  const table = `${tableId}, the table of ${subnetId ?? far.vpcId},`;
  const isRight = peering
    ? hop?.target.id === peering.id && !hop.isBlackhole
    : hop !== undefined && hop.target.kind !== 'internet' && !hop.isBlackhole;
  if (hop && isRight) return { state: 'ok', evidence: [`${inWords(hop)}.`] };
  const evidence = hop
    ? [
        `${inWords(hop)}${hop.isBlackhole ? ', a blackhole' : ''}: what ${far.vpcId} answers does not come back.`,
      ]
    : [`${table} has no route to ${addressOf(source)}.`];
  return { state: 'broken', evidence, cure: backCure(scene, far, found, peering) };
}

function backCure(
  scene: Scene,
  far: Far,
  { tableId, hop }: { readonly tableId: string; readonly hop?: Hop },
  peering: Peering | undefined,
): string {
  const { source } = scene.way;
  const range = (peering && rangeWith(peering.near, source)?.text) ?? source.text;
  // The same range cannot be routed twice.
  const action = hop?.destination === range ? 'replace-route' : 'create-route';
  const words = peering
    ? routeWords(tableId, { destination: range, peeringId: peering.id })
    : ['--route-table-id', tableId, destinationOption(range), range, '--instance-id', scene.instanceId];
  return scene.ec2(far, action, ...words);
}

/** A peering carries the addresses of its two VPCs and no others (VPC peering guide, limitations). */
const foreign = ({ way, vpcId, instanceId }: Scene) => ({
  evidence: [
    `${addressOf(way.source)} is no address of ${vpcId}, and a peering carries no others: it has to leave with the node's.`,
  ],
  cure: `npx peermasq plan --node ${instanceId}`,
});

function unseen(scene: Scene, onward: Onward): Verdict {
  if (onward.over !== 'beyond') {
    const evidence = [
      `No peering leads to ${addressOf(scene.way.destination)}, so there is no table to look at.`,
    ];
    return { state: 'unknown', evidence };
  }
  const { id } = onward.hop.target;
  const evidence = [
    `What lies behind ${id} is not to be seen from here; it needs a route to ${addressOf(scene.way.source)}.`,
  ];
  const cure = beyondCure(scene, id);
  return { state: 'unknown', evidence, ...(cure !== undefined && { cure }) };
}

function beyondCure({ ec2, home }: Scene, id: string): string | undefined {
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
