import { sh } from '../network';
import { type Environment, internetAddress, type Pod, peerAddress, port } from './environment';
import type { Machines } from './machines';

/** The source address that each connection arrives with, or `dropped`, by `FROM to TO`. */
export type Traffic = Readonly<Record<string, string>>;

export type Phase = 'before' | 'after';

interface Connection {
  readonly from: string;
  readonly to: string;
  readonly address: string;
  readonly seen: Readonly<Record<Phase, string>>;
}

/** Every connection that an environment says something about. */
function connectionsOf({ pods: all, podsStartLate, peer, uplinks }: Environment, phase: Phase): Connection[] {
  const pods = podsStartLate && phase === 'before' ? [] : all;
  const [first, second] = pods;
  const connections = [fromNode(peer.nodeSource ?? uplinks[0].address ?? ''), ...pods.flatMap(fromPod)];
  if (!first || !second) return connections;
  connections.push({
    from: first.name,
    to: second.name,
    address: second.address,
    seen: always(first.address),
  });
  if (peer.reachesPods)
    connections.push({ from: 'peer', to: second.name, address: second.address, seen: always(peerAddress) });
  return connections;
}

const always = (source: string) => ({ before: source, after: source });

const fromNode = (address: string): Connection => ({
  from: 'node',
  to: 'peer',
  address: peerAddress,
  seen: always(address),
});

const fromPod = ({ name, peer, internet }: Pod): Connection[] => [
  { from: name, to: 'peer', address: peerAddress, seen: peer },
  { from: name, to: 'internet', address: internetAddress, seen: always(internet) },
];

export const expectedTraffic = (environment: Environment, phase: Phase): Traffic =>
  Object.fromEntries(
    connectionsOf(environment, phase).map(({ from, to, seen }) => [`${from} to ${to}`, seen[phase]]),
  );

/** Opens all connections in parallel, with one process per machine. */
export async function observeTraffic(
  environment: Environment,
  { host }: Machines,
  phase: Phase,
): Promise<Traffic> {
  const connections = connectionsOf(environment, phase);
  const senders = [...new Set(connections.map(({ from }) => from))];
  const outputs = await Promise.all(
    senders.map((sender) => {
      const requests = connections.filter(({ from }) => from === sender).map((each) => request(each, phase));
      return sh(host(sender), `${requests.join('\n')}\nwait`);
    }),
  );
  return Object.fromEntries(
    outputs.flatMap((output) =>
      [...output.matchAll(/^(.*): (.*)$/gm)].map(([, name = '', source = '']) => [name, source]),
    ),
  );
}

/** What is expected to work may take longer on a busy machine. */
const request = ({ from, to, address, seen }: Connection, phase: Phase) =>
  `{ source=$(curl -s --max-time ${seen[phase] === 'dropped' ? 1 : 4} http://${address}:${port}/) || source=dropped
  echo "${from} to ${to}: $source"; } &`;
