import { InvalidArgumentError, Option, type Command } from 'commander';
import { explain } from '../../shared/core/explain/explain';
import { wants, type Want } from '../../shared/core/explain/explanation';
import { withDecision } from '../../shared/core/explain/with-decision';
import { isOwnAddress } from '../../shared/core/explain/simulate/routing';
import { decodeInput } from '../../shared/core/explain/parse/input';
import { parseSnapshot } from '../../shared/core/explain/parse/snapshot';
import type { Snapshot } from '../../shared/core/explain/snapshot';
import type { Address } from '../../shared/core/model/cidr';
import { PermanentError } from '../../shared/core/model/errors';
import { definedOnly } from '../../shared/core/util/collections';
import { collectInDebugPod, collectOverSsh } from './collect-remotely';
import {
  packetOf,
  resolveDestination,
  resolveSource,
  type DestinationEndpoint,
  type PacketOptions,
  type SourceEndpoint,
} from './connection';
import { exitCodeOf, formatExplanation, type ExplainResult } from './format-explanation';
import { exitCodeOfOverview, formatOverview, type OverviewResult } from './format-overview';
import { gatherFindings, snapshotHelp } from './gather-findings';
import { addExamples, atLeast, clusterOption, outputOption, readBytes, withTargetOptions } from './options';
import { print, type Format } from './output';
import { gatherOverview } from './overview';
import type { TargetOptions } from './targets';

interface ExplainOptions extends TargetOptions, PacketOptions {
  readonly want: Want;
  readonly from: string;
  readonly to?: string;
  readonly rules?: string;
  readonly ssh?: string;
  readonly kubectlDebug?: string;
  readonly assumeComplete?: boolean;
  readonly node?: string;
  readonly output: Format;
}

export function addExplain(program: Command): void {
  const command = withTargetOptions(
    withPacketOptions(
      program
        .command('explain')
        .description(
          'trace a packet through the rules of a node: which rule masquerades it, or why none does. Exits with 2 if that is not what --want says',
        )
        .requiredOption('--from <pod>', 'pod address, NAMESPACE/POD (looked up with kubectl), or node')
        .option(
          '--to <host:port>',
          'destination; without it, saved rules are shown as an overview of all destinations',
        )
        .option(
          '--rules <file>',
          'saved rules instead of a live node: the output of the script that `peermasq collect` prints; - for stdin',
        )
        .option('--ssh <host>', 'collect the rules on this host, with your own ssh')
        .option(
          '--kubectl-debug <node>',
          'collect the rules on this node of the cluster, with your own kubectl, in a privileged debug pod that is deleted afterwards',
        )
        .option(
          '--assume-complete',
          'with saved or collected rules: treat tables that the saved rules do not show as empty, instead of answering unknown',
        )
        .option('--node <node>', 'the node that the pod runs on: name, ID or CLOUD:ID'),
    )
      .addOption(clusterOption())
      .addOption(outputOption()),
  ).action(async (_: unknown, self: Command) => {
    const options = self.optsWithGlobals<ExplainOptions>();
    const from = await resolveSource(options.from, options.node);
    if (options.to === undefined) {
      const overview = await overviewOfSaved(from, options);
      print(formatOverview(overview), options.output);
      process.exitCode = exitCodeOfOverview(overview);
      return;
    }
    const to = await resolveDestination(options.to, from);
    const result = (await explainSaved({ from, to }, options)) ?? (await explainLive({ from, to }, options));
    print(formatExplanation(`${options.from} → ${options.to}`, result), options.output);
    process.exitCode = exitCodeOf(result.explanation);
  });
  command.addHelpText('after', snapshotHelp);
  addExamples(command, [
    'npx peermasq explain --from shop/web-0 --to 10.193.0.3:32191',
    'npx peermasq collect | ssh node-1 sudo sh > rules.txt',
    'npx peermasq explain --rules rules.txt --from 10.132.0.10 --to 10.193.0.3:32191',
    'npx peermasq explain --rules rules.txt --from 10.132.0.10',
    'npx peermasq explain --rules rules.txt --from 10.132.0.10 --to 10.193.0.3:32191 --want direct',
    'npx peermasq explain --ssh node-1 --from 10.132.0.10 --to 10.193.0.3:32191 -o json',
    'npx peermasq explain --kubectl-debug node-1 --from shop/web-0 --to 10.193.0.3:32191',
  ]);
}

const withPacketOptions = (command: Command): Command =>
  command
    .addOption(new Option('--protocol <name>', 'protocol').choices(['tcp', 'udp']).default('tcp'))
    .addOption(
      new Option('--want <source>', "what the packet should leave with: the node's address, or its own")
        .choices(wants)
        .default('masqueraded'),
    )
    .option('--source-port <port>', 'source port, needed only if a rule matches on it', parsePort)
    .option('--in <interface>', 'input interface, if the saved rules do not show it')
    .option('--out <interface>', 'output interface, if the saved rules do not show it');

function parsePort(text: string): number {
  const port = atLeast(1)(text);
  if (port <= 65_535) return port;
  throw new InvalidArgumentError('Expected a port from 1 to 65535.');
}

interface Endpoints {
  readonly from: SourceEndpoint;
  readonly to: DestinationEndpoint;
}

/**
 * Explains a packet with the rules of a live node.
 * @throws PeermasqError if the rules cannot be read
 */
async function explainLive(endpoints: Endpoints, options: ExplainOptions): Promise<ExplainResult> {
  const { rules, reach, decision } = await gatherFindings(endpoints, options);
  if (rules instanceof Error) throw rules;
  return {
    explanation: withDecision(rules, decision),
    // Not checked for UDP, because the cloud's firewall checks cover only TCP.
    upstream: options.protocol === 'udp' ? null : reach,
    warnings: [],
  };
}

async function overviewOfSaved(from: SourceEndpoint, options: ExplainOptions): Promise<OverviewResult> {
  const snapshot = await readSnapshot(from, options);
  if (snapshot) return gatherOverview(snapshot, from.pod ?? rejectNonAddress(from), options);
  throw new PermanentError('bad-option', 'An overview of all destinations needs saved rules', {
    advice:
      'Pass the rules of the node with --rules FILE or --ssh HOST, or one destination with --to HOST:PORT.',
  });
}

/** @returns undefined if the rules come from the node, through its cloud */
async function readSnapshot(
  { pod }: SourceEndpoint,
  { rules, ssh, kubectlDebug }: ExplainOptions,
): Promise<Snapshot | undefined> {
  const given = [rules, ssh, kubectlDebug].filter((option) => option !== undefined);
  if (given.length > 1)
    throw new PermanentError('bad-option', '--rules, --ssh and --kubectl-debug exclude each other', {
      advice: 'Pass only one of them.',
    });
  if (ssh !== undefined) return parseSnapshot(await collectOverSsh(ssh, pod));
  if (kubectlDebug !== undefined) return parseSnapshot(await collectInDebugPod(kubectlDebug, pod));
  if (rules === undefined) return undefined;
  const advice =
    'Pass a file with the output of the script that `npx peermasq collect` prints, or - for stdin.';
  return parseSnapshot(decodeInput(readBytes(rules, advice)));
}

async function explainSaved(
  { from, to }: Endpoints,
  options: ExplainOptions,
): Promise<ExplainResult | undefined> {
  const snapshot = await readSnapshot(from, options);
  if (!snapshot) return undefined;
  const source = from.pod ?? rejectNonAddress(from);
  const isFromNode = isOwnAddress(snapshot, source);
  const packet = packetOf({ source, isFromNode }, to, options);
  const { want, assumeComplete } = options;
  const explanation = explain(snapshot, packet, definedOnly({ want, assumeComplete }));
  return { explanation, upstream: null, warnings: snapshot.warnings };
}

function rejectNonAddress({ text }: SourceEndpoint): Address {
  throw new PermanentError(
    'bad-option',
    `With --rules, --from must be an address or a pod; ${JSON.stringify(text)} is neither`,
    { advice: 'Pass the address of the pod, such as 10.132.0.10.' },
  );
}
