import { sh } from '../network';
import { type Environment, internetAddress, type Pod, peerAddress, port } from './environment';
import type { Machines } from './machines';

/** The source address with which each connection arrives, or `dropped`. The keys are `FROM to TO`. */
export type Traffic = Readonly<Record<string, string>>;

/** When traffic is observed: before apply, after apply, or after the network's agents were restarted. */
export type Phase = 'before' | 'after' | 'restarted';

interface Connection {
  readonly from: string;
  readonly to: string;
  readonly address: string;
  readonly seen: string;
}

/**
 * Returns every connection that the environment describes. After a restart, only connections from pods to the peer are
 * returned, and only those that arrived before it.
 */
function connectionsOf(environment: Environment, phase: Phase): Connection[] {
  const pods = environment.podsStartLate && phase === 'before' ? [] : environment.pods;
  const toPeer = pods.map((pod) => fromPodToPeer(pod, phase));
  if (phase === 'restarted') {
    const arrived = toPeer.filter(({ seen }) => seen !== 'dropped');
    return environment.hangsAfterRestart ? arrived.map((each) => ({ ...each, seen: 'dropped' })) : arrived;
  }
  return [
    fromNode(environment),
    ...toPeer,
    ...pods.map(fromPodToInternet),
    ...betweenPods(environment, pods),
  ];
}

const fromNode = ({ peer, uplinks }: Environment): Connection => ({
  from: 'node',
  to: 'peer',
  address: peerAddress,
  seen: peer.nodeSource ?? uplinks[0].address ?? '',
});

const fromPodToPeer = ({ name, peer }: Pod, phase: Phase): Connection => ({
  from: name,
  to: 'peer',
  address: peerAddress,
  seen: phase === 'before' ? peer.before : peer.after,
});

const fromPodToInternet = ({ name, internet }: Pod): Connection => ({
  from: name,
  to: 'internet',
  address: internetAddress,
  seen: internet,
});

function betweenPods({ peer }: Environment, [first, second]: readonly Pod[]): Connection[] {
  if (!first || !second) return [];
  const { name, address } = second;
  const connections = [{ from: first.name, to: name, address, seen: first.address }];
  return peer.reachesPods
    ? [...connections, { from: 'peer', to: name, address, seen: peerAddress }]
    : connections;
}

export const expectedTraffic = (environment: Environment, phase: Phase): Traffic =>
  Object.fromEntries(
    connectionsOf(environment, phase).map(({ from, to, seen }) => [`${from} to ${to}`, seen]),
  );

/** Opens all connections in parallel, with one process on each machine. */
export async function observeTraffic(
  environment: Environment,
  { host }: Machines,
  phase: Phase,
): Promise<Traffic> {
  const connections = connectionsOf(environment, phase);
  const senders = [...new Set(connections.map(({ from }) => from))];
  const outputs = await Promise.all(
    senders.map((sender) => {
      const requests = connections.filter(({ from }) => from === sender).map(request);
      return sh(host(sender), `${requests.join('\n')}\nwait`);
    }),
  );
  return Object.fromEntries(
    outputs.flatMap((output) =>
      [...output.matchAll(/^(.*): (.*)$/gm)].map(([, name = '', source = '']) => [name, source]),
    ),
  );
}

/** A connection that is expected to work gets more time, because it may take longer on a busy machine. */
const request = ({ from, to, address, seen }: Connection) =>
  `{ source=$(curl -s --max-time ${seen === 'dropped' ? 1 : 4} http://${address}:${port}/) || source=dropped
  echo "${from} to ${to}: $source"; } &`;
