import { execFile } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { promisify } from 'node:util';
import * as z from 'zod';
import { addressOf, CidrError, parseAddress, type Cidr } from '../../shared/core/model/cidr';
import { messageOf, PermanentError } from '../../shared/core/model/errors';
import type { Packet } from '../../shared/core/explain/simulate/packet';

/** Where a connection begins. */
export interface SourceEndpoint {
  /** As it was given, for people. */
  readonly text: string;
  /** The pod's address, one-address range; absent for a node. */
  readonly pod?: Cidr;
  /** The node: its name, id or key; absent where only an address was given. */
  readonly node?: string;
}

/** What else a rule may ask of the connection's first packet. */
export interface PacketOptions {
  readonly protocol?: 'tcp' | 'udp';
  readonly sourcePort?: number;
  readonly in?: string;
  readonly out?: string;
}

/** Its first packet. */
export const packetOf = (
  source: Cidr,
  isFromNode: boolean,
  to: DestinationEndpoint,
  options: PacketOptions,
): Packet => ({
  source,
  isFromNode,
  destination: to.address,
  destinationPort: to.port,
  protocol: options.protocol ?? 'tcp',
  ...(options.sourcePort !== undefined && { sourcePort: options.sourcePort }),
  ...(options.in !== undefined && { in: options.in }),
  ...(options.out !== undefined && { out: options.out }),
});

/** Where it leads. */
export interface DestinationEndpoint {
  readonly text: string;
  readonly address: Cidr;
  readonly port: number;
}

/**
 * Reads what --from says: a pod's address, NAMESPACE/POD (asked of kubectl), or a node.
 * @param node what --node says
 */
export async function resolveSource(text: string, node: string | undefined): Promise<SourceEndpoint> {
  const pod = tryParseAddress(text);
  if (pod) return { text, pod, ...(node !== undefined && { node }) };
  const [, namespace, name] = /^([a-z0-9][a-z0-9-]*)\/([a-z0-9][a-z0-9.-]*)$/.exec(text) ?? [];
  if (namespace !== undefined && name !== undefined) return lookUpPod(text, namespace, name, node);
  return { text, node: node ?? text };
}

/**
 * Reads HOST:PORT; a name is looked up, in the family of the pod's address.
 * @throws PermanentError also where the two are of different families: such a packet cannot be
 */
export async function resolveDestination(
  text: string,
  { pod }: Pick<SourceEndpoint, 'pod'> = {},
): Promise<DestinationEndpoint> {
  const [, v6, host, port = ''] =
    /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):([1-9][0-9]{0,4})$/.exec(text) ?? [];
  const name = v6 ?? host;
  if (name === undefined || Number(port) > 65535) {
    throw new PermanentError(
      'bad-option',
      `${JSON.stringify(text)} is not HOST:PORT`,
      'Write it as 10.193.0.3:5432, [fd00::1]:5432 or db.example.com:5432.',
    );
  }
  const address = tryParseAddress(name) ?? (await resolveHost(name, pod?.family));
  if (pod && pod.family !== address.family) {
    throw new PermanentError(
      'bad-option',
      `${addressOf(pod)} is IPv${pod.family} and ${text} is IPv${address.family}`,
      'Give both addresses of one family.',
    );
  }
  return { text, address, port: Number(port) };
}

function tryParseAddress(text: string): Cidr | undefined {
  try {
    return parseAddress(text);
  } catch (error) {
    if (error instanceof CidrError) return undefined;
    throw error;
  }
}

async function resolveHost(name: string, family: 4 | 6 = 4): Promise<Cidr> {
  try {
    return parseAddress((await lookup(name, { family })).address);
  } catch (cause) {
    throw new PermanentError(
      'unknown-host',
      `${name} has no address here: ${messageOf(cause)}`,
      'Give the address that the pod sees: names may lead elsewhere inside the cluster.',
      cause,
    );
  }
}

const podSchema = z.object({
  spec: z.object({ nodeName: z.string(), hostNetwork: z.boolean().optional() }),
  status: z.object({ podIP: z.string() }),
});

/** kubectl has the credentials of the cluster. A pod in its node's own network is as good as the node. */
async function lookUpPod(
  text: string,
  namespace: string,
  name: string,
  node: string | undefined,
): Promise<SourceEndpoint> {
  const advice = 'Look at the pod with `kubectl get pod -o wide`, or give its address and --node.';
  try {
    const args = ['get', 'pod', name, '--namespace', namespace, '--output', 'json'];
    const { stdout } = await promisify(execFile)('kubectl', args, { timeout: 20_000, maxBuffer: 16 << 20 });
    const { spec, status } = podSchema.parse(JSON.parse(stdout));
    const on = { text, node: node ?? spec.nodeName };
    return spec.hostNetwork ? on : { ...on, pod: parseAddress(status.podIP) };
  } catch (cause) {
    const isAbsent = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const why = isAbsent ? 'kubectl is not installed' : `kubectl could not tell: ${lastLine(cause)}`;
    throw new PermanentError('no-pod', `Where pod ${text} runs is not known: ${why}`, advice, cause);
  }
}

/** Its last words; what comes before are often warnings. */
function lastLine(thrown: unknown): string {
  const said = z.object({ stderr: z.string() }).safeParse(thrown).data?.stderr ?? '';
  const last = said.trim().split('\n').at(-1) ?? '';
  return last === '' ? messageOf(thrown) : last;
}
