import { InvalidArgumentError, Option, type Command } from 'commander';
import type { Cidr } from '../../shared/core/model/cidr';
import { isPodRouted } from '../../shared/core/doctor/check-masquerading';
import { PermanentError } from '../../shared/core/model/errors';
import { explain } from '../../shared/core/explain/explain';
import type { Explanation, Step } from '../../shared/core/explain/simulate/packet';
import { isLocal } from '../../shared/core/explain/parse/ip';
import { parseSnapshot } from '../../shared/core/explain/parse/snapshot';
import type { Check } from '../../shared/core/doctor/check';
import { escapeControls } from '../../shared/core/util/shell';
import { readTextFile } from './config';
import {
  packetOf,
  resolveSource,
  resolveDestination,
  type SourceEndpoint,
  type PacketOptions,
  type DestinationEndpoint,
} from './connection';
import { gatherFindings, snapshotHelp } from './gather-findings';
import { exitCodes } from './errors';
import {
  atLeast,
  colours,
  examples,
  outputOption,
  print,
  table,
  type CommandOutput,
  type Format,
} from './output';
import { clusterOption, withTargetOptions, type TargetOptions } from './targets';

interface ExplainOptions extends TargetOptions, PacketOptions {
  readonly from: string;
  readonly to: string;
  readonly rules?: string;
  readonly node?: string;
  readonly output: Format;
}

/** `peermasq explain`: the packet's way through the rules of its node. */
export function addExplain(program: Command): void {
  const command = withTargetOptions(
    program
      .command('explain')
      .description(
        "walk a packet through a node's rules: which one masquerades it, or why none does. Exits 2 when none does",
      )
      .requiredOption('--from <pod>', "the pod's address, NAMESPACE/POD (kubectl is asked), or a node")
      .requiredOption('--to <host:port>', 'where it goes')
      .option(
        '--rules <file>',
        'saved rules instead of a live node: iptables-save or nft -j list ruleset; - is stdin',
      )
      .option('--node <node>', 'the node that the pod is on: its name, id or CLOUD:ID')
      .addOption(new Option('--protocol <name>', 'of the connection').choices(['tcp', 'udp']).default('tcp'))
      .option('--source-port <port>', 'where rules ask for it', port)
      .option('--in <interface>', 'that it comes in by, where the saved rules do not tell')
      .option('--out <interface>', 'that it leaves by, where the saved rules do not tell')
      .addOption(clusterOption())
      .addOption(outputOption()),
  ).action(async (_: unknown, self: Command) => {
    const options = self.optsWithGlobals<ExplainOptions>();
    const from = await resolveSource(options.from, options.node);
    const to = await resolveDestination(options.to, from);
    const { explanation, upstream } =
      options.rules === undefined
        ? await explainLive(from, to, options)
        : explainSaved(options.rules, from, to, options);
    print(formatExplanation(options, explanation, upstream), options.output);
    process.exitCode = exitCodeOf(explanation);
  });
  command.addHelpText('after', snapshotHelp);
  examples(command, [
    'npx peermasq explain --from shop/web-0 --to 10.193.0.3:32191',
    '{ sudo iptables-save; sudo ipset save; ip -o addr; ip route; ip rule; } > rules.txt',
    'npx peermasq explain --rules rules.txt --from 10.132.0.10 --to 10.193.0.3:32191',
    '{ sudo nft -j list ruleset; ip -o addr; ip route; ip rule; } | npx peermasq explain --rules - --from 10.132.0.10 --to 10.193.0.3:32191 -o json',
  ]);
}

function notNeeded(found: Explanation, network: string): Explanation {
  if (found.cause === 'dropped' || found.cause === 'stays-on-node') return found;
  const reason = `It needs none: ${network} and its peers have routes to the pod. ${found.reason}`;
  return { ...found, cause: 'not-needed', reason, fix: null };
}

/** That it needs no masquerade, or that nothing leaves the node, is no fault. */
function exitCodeOf({ masqueraded, mayBeDropped, cause, fix }: Explanation): number {
  if (masqueraded === 'unknown') return exitCodes.unknown;
  const isFinding =
    ['dropped', 'wrong-backend', 'untracked'].includes(cause) || (!masqueraded && fix !== null);
  if (isFinding) return exitCodes.finding;
  return mayBeDropped ? exitCodes.unknown : exitCodes.ok;
}

function port(text: string): number {
  const number = atLeast(1)(text);
  if (number <= 65_535) return number;
  throw new InvalidArgumentError('Accepted is a port, 1 to 65535.');
}

interface ExplainResult {
  readonly explanation: Explanation;
  /** What the cloud says of the way behind the node; null where only saved rules were read. */
  readonly upstream: readonly Check[] | null;
}

/** @throws PermanentError where the node's rules cannot be seen */
async function explainLive(
  from: SourceEndpoint,
  to: DestinationEndpoint,
  options: ExplainOptions,
): Promise<ExplainResult> {
  const { rules: found, reach, networkContext } = await gatherFindings(from, to, options);
  if (found instanceof Error) throw found;
  const isNeeded = !from.pod || !isPodRouted(from.pod, networkContext) || found.masqueraded !== false;
  const rules = isNeeded ? found : notNeeded(found, networkContext.network);
  // Firewalls are asked about TCP.
  return { explanation: rules, upstream: options.protocol === 'udp' ? null : reach };
}

function explainSaved(
  file: string,
  from: SourceEndpoint,
  to: DestinationEndpoint,
  options: ExplainOptions,
): ExplainResult {
  const snapshot = parseSnapshot(
    readTextFile(file, 'Name a file that `iptables-save` wrote, or - for stdin.'),
  );
  const source = from.pod ?? rejectNonAddress(from);
  const isFromNode = isLocal(snapshot, source.family, source.first) === true;
  const packet = packetOf(source, isFromNode, to, options);
  return { explanation: explain(snapshot, packet), upstream: null };
}

function rejectNonAddress({ text }: SourceEndpoint): Cidr {
  throw new PermanentError(
    'bad-option',
    `With saved rules --from must be an address or a pod, and ${JSON.stringify(text)} is neither`,
    "Give the pod's address, such as 10.132.0.10.",
  );
}

function formatExplanation(
  { from, to }: ExplainOptions,
  explanation: Explanation,
  upstream: ExplainResult['upstream'],
): CommandOutput {
  const { masqueraded, mayBeDropped, source, sources, path, omitted, cause, reason, fix } = explanation;
  const { destinations } = explanation;
  const verdict =
    masqueraded === 'unknown'
      ? 'It is not certain whether it is masqueraded.'
      : masqueraded
        ? 'It is masqueraded.'
        : 'It is not masqueraded.';
  const colour = { 0: colours.green, 2: colours.red }[exitCodeOf(explanation)] ?? colours.yellow;
  const lines = [
    colours.bold(`${from} → ${to}`),
    ...(path.length === 0 ? [] : [pathTable(path), '']),
    ...(omitted === 0 ? [] : [`${omitted} more rules that it came to are not shown.`, '']),
    colour(`${verdict} ${escapeControls(reason)}`),
    ...(cause === 'dropped' || cause === 'stays-on-node'
      ? ['It does not leave the node.']
      : [sourceLine(source, sources)]),
    ...upstreamLines(upstream),
    ...(fix === null ? [] : [`Fix: ${escapeControls(fix)}`]),
  ];
  const document = {
    masqueraded,
    mayBeDropped,
    source,
    sources,
    destinations,
    cause,
    reason,
    fix,
    path,
    omitted,
    upstream,
  };
  return { document, text: lines.join('\n') };
}

const sourceLine = (source: string | null, sources: readonly string[]): string =>
  `It leaves with ${source ?? (sources.join(' or ') || 'an address that the rules alone do not tell')}.`;

function pathTable(path: readonly Step[]): string {
  return table(
    ['TABLE', 'CHAIN', 'RULE', 'RESULT', 'WHY'],
    path.flatMap(({ backend, table: name, chain, rule, text, result, reason }) => [
      [`${name} (${backend})`, chain, String(rule), resultText(result), escapeControls(reason)],
      ['', '', '', '', colours.dim(escapeControls(text))],
    ]),
  );
}

function resultText(result: Step['result']): string {
  const colour = { matched: colours.green, 'not-matched': colours.dim, unknown: colours.yellow };
  return colour[result](result.replace('-', ' '));
}

function upstreamLines(upstream: ExplainResult['upstream']): string[] {
  if (upstream === null)
    return [
      'What routers and firewalls do to it is not in saved rules: `npx peermasq doctor` asks the cloud.',
    ];
  const broken = upstream.find(({ state }) => state === 'broken');
  return broken
    ? [`It would be dropped behind the node, at ${broken.name}: ${escapeControls(broken.evidence[0] ?? '')}`]
    : [];
}
