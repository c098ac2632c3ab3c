import { execFile } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { promisify } from 'node:util';
import * as z from 'zod';
import type { Packet } from '../../shared/core/explain/simulate/packet';
import { CidrError, parseAddress, type Address } from '../../shared/core/model/cidr';
import { messageOf, PermanentError } from '../../shared/core/model/errors';
import { definedOnly } from '../../shared/core/util/collections';
import { tryParse } from '../../shared/core/util/functional';

/** What --from names. */
export interface SourceEndpoint {
  /** As typed. */
  readonly text: string;
  /** Absent for a connection from the node itself. */
  readonly pod?: Address;
  /** The name, ID or key of the node; absent if only a pod address was given. */
  readonly node?: string;
}

/** What --to names. */
export interface DestinationEndpoint {
  /** As typed. */
  readonly text: string;
  readonly address: Address;
  readonly port: number;
}

/** Other fields of the packet that a rule may match. */
export interface PacketOptions {
  readonly protocol?: 'tcp' | 'udp';
  readonly sourcePort?: number;
  readonly in?: string;
  readonly out?: string;
}

/** The first packet of the connection. */
export const packetOf = (
  source: Pick<Packet, 'source' | 'isFromNode'>,
  to: DestinationEndpoint,
  { protocol = 'tcp', sourcePort, in: inbound, out }: PacketOptions,
): Packet => ({
  ...source,
  destination: to.address,
  destinationPort: to.port,
  protocol,
  ...definedOnly({ sourcePort, in: inbound, out }),
});

/**
 * @param text a pod address, NAMESPACE/POD (looked up with kubectl), or a node
 * @param node the value of --node
 */
export async function resolveSource(text: string, node: string | undefined): Promise<SourceEndpoint> {
  const pod = tryParseAddress(text);
  if (pod) return { text, pod, ...definedOnly({ node }) };
  const [, namespace, name] = /^([a-z0-9][a-z0-9-]*)\/([a-z0-9][a-z0-9.-]*)$/.exec(text) ?? [];
  if (namespace === undefined || name === undefined) return { text, node: node ?? text };
  const found = await lookUpPod(namespace, name);
  return { text, node: node ?? found.node, ...definedOnly({ pod: found.address }) };
}

/**
 * @param text HOST:PORT; a host name is resolved in the address family of the pod
 * @throws PermanentError also if pod and destination are of different families
 */
export async function resolveDestination(
  text: string,
  { pod }: Pick<SourceEndpoint, 'pod'> = {},
): Promise<DestinationEndpoint> {
  const [, v6, host, port = ''] =
    /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):([1-9][0-9]{0,4})$/.exec(text) ?? [];
  const name = v6 ?? host;
  if (name === undefined || Number(port) > 65_535) {
    throw new PermanentError('bad-option', `${JSON.stringify(text)} is not HOST:PORT`, {
      advice: 'Examples: 10.193.0.3:5432, [fd00::1]:5432, db.example.com:5432.',
    });
  }
  const address = tryParseAddress(name) ?? (await resolveHost(name, pod?.family));
  if (pod && pod.family !== address.family) {
    throw new PermanentError(
      'bad-option',
      `${pod.text} is IPv${pod.family}, but ${text} is IPv${address.family}`,
      { advice: 'Use two addresses of the same family.' },
    );
  }
  return { text, address, port: Number(port) };
}

const tryParseAddress = (text: string): Address | undefined =>
  tryParse(
    () => parseAddress(text),
    (error) => error instanceof CidrError,
  );

async function resolveHost(name: string, family: 4 | 6 = 4): Promise<Address> {
  try {
    return parseAddress((await lookup(name, { family })).address);
  } catch (cause) {
    throw new PermanentError('unknown-host', `Cannot resolve ${name}: ${messageOf(cause)}`, {
      advice:
        'Use the address that the pod connects to: inside the cluster the name may resolve to another one.',
      cause,
    });
  }
}

const podSchema = z.object({
  spec: z.object({ nodeName: z.string(), hostNetwork: z.boolean().optional() }),
  status: z.object({ podIP: z.string() }),
});

/** @returns no address for a pod in the network of its node */
async function lookUpPod(namespace: string, name: string): Promise<{ node: string; address?: Address }> {
  try {
    const args = ['get', 'pod', name, '--namespace', namespace, '--output', 'json'];
    const { stdout } = await promisify(execFile)('kubectl', args, { timeout: 20_000, maxBuffer: 16 << 20 });
    const { spec, status } = podSchema.parse(JSON.parse(stdout));
    return spec.hostNetwork
      ? { node: spec.nodeName }
      : { node: spec.nodeName, address: parseAddress(status.podIP) };
  } catch (cause) {
    const isAbsent = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const reason = isAbsent ? 'kubectl is not installed' : `kubectl failed: ${lastLine(cause)}`;
    throw new PermanentError('no-pod', `Cannot look up pod ${namespace}/${name}: ${reason}`, {
      advice: 'Check it with `kubectl get pod -o wide`, or pass its address and --node.',
      cause,
    });
  }
}

/** The last line of stderr; those before it are often warnings. */
function lastLine(thrown: unknown): string {
  const stderr = z.object({ stderr: z.string() }).safeParse(thrown).data?.stderr ?? '';
  const last = stderr.trim().split('\n').at(-1) ?? '';
  return last === '' ? messageOf(thrown) : last;
}
