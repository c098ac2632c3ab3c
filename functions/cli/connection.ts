import { execFile } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { promisify } from 'node:util';
import * as z from 'zod';
import type { Packet } from '../../shared/core/explain/simulate/packet';
import { parseAddress, tryParseAddress, type Address } from '../../shared/core/model/cidr';
import { messageOf, PermanentError } from '../../shared/core/model/errors';
import { definedOnly } from '../../shared/core/util/collections';

/** The source of a connection, as --from specifies it. */
export interface SourceEndpoint {
  /** The text as the user typed it. */
  readonly text: string;
  /** The address of the pod; absent for a connection from the node itself. */
  readonly pod?: Address;
  /** The name, ID or key of the node; absent if only a pod address was given. */
  readonly node?: string;
}

/** The destination of a connection, as --to specifies it. */
export interface DestinationEndpoint {
  /** The text as the user typed it. */
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

/** Returns the first packet of a connection. */
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
 * Resolves the value of --from.
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
 * Resolves the value of --to.
 * @param text HOST:PORT; a host name is resolved in the pod's address family
 * @throws PermanentError also if the pod and the destination are of different families
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

async function resolveHost(name: string, family: 4 | 6 = 4): Promise<Address> {
  try {
    return parseAddress((await lookup(name, { family })).address);
  } catch (cause) {
    throw new PermanentError('unknown-host', `Cannot resolve ${name}: ${messageOf(cause)}`, {
      advice:
        'Use the address that the pod connects to: inside the cluster the name may resolve to a different address.',
      cause,
    });
  }
}

const podSchema = z.object({
  spec: z.object({ nodeName: z.string(), hostNetwork: z.boolean().optional() }),
  status: z.object({ podIP: z.string() }),
});

/**
 * Looks up a pod with kubectl.
 * @returns no address if the pod uses its node's network
 */
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

/** Returns the last line of stderr, because the lines before it are often warnings. */
export function lastLine(thrown: unknown): string {
  const stderr = z.object({ stderr: z.string() }).safeParse(thrown).data?.stderr ?? '';
  const last = stderr.trim().split('\n').at(-1) ?? '';
  return last === '' ? messageOf(thrown) : last;
}
