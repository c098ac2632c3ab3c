import { InvalidArgumentError, Option, type Command } from 'commander';
import { PermanentError } from '../../shared/core/model/errors';
import { parseRuleSet, type RuleSet } from '../../shared/core/model/rule-set';
import {
  renderDaemonSet,
  renderRuleSetDaemonSet,
  type DaemonSetOptions,
} from '../../shared/core/render/daemonset';
import { renderIpMasqAgent } from '../../shared/core/render/ip-masq-agent';
import { renderIptables } from '../../shared/core/render/iptables';
import { renderMermaid } from '../../shared/core/render/mermaid';
import { renderStartupScript } from '../../shared/core/render/startup-script';
import { renderSvg } from '../../shared/core/render/svg';
import { loadProgram } from '../runtime/settings';
import { deadlineOf, dryRunFor, isPlanned, type DryRunCommandOptions, type NodePlan } from './dry-run';
import { addExamples, clusterOption, readTextFile, withTargetOptions } from './options';
import { diagramOf } from './render/diagram';

interface RenderOptions extends DryRunCommandOptions {
  readonly ruleSet?: string;
  /** The address family; used only by `iptables`. */
  readonly family?: '4' | '6';
}

export function addRender(program: Command): void {
  const render = program.command('render').description('print a plan in other formats');
  addIptables(render);
  addRuleSetFormat(
    render
      .command('startup-script')
      .description('script that installs the node program and applies the plan'),
    (ruleSet) => renderStartupScript(loadProgram(), ruleSet),
  );
  addRuleSetFormat(
    render.command('ip-masq-agent').description('ConfigMap for clusters that run ip-masq-agent'),
    renderIpMasqAgent,
  );
  addDaemonSet(render);
  addDiagram(render);
}

function addIptables(render: Command): void {
  addRuleSetFormat(
    render
      .command('iptables')
      .description('text for iptables-restore --noflush')
      .addOption(new Option('--family <family>', 'IP version').choices(['4', '6']).default('4')),
    (ruleSet, { family = '4' }) =>
      renderIptables(ruleSet, family === '4' ? 4 : 6) ?? rejectEmptyFamily(family),
  );
}

/** Adds the options and the action of a format that shows one rule set. */
function addRuleSetFormat(
  command: Command,
  format: (ruleSet: RuleSet, options: RenderOptions) => string,
): void {
  withTargetOptions(withPlanOptions(command)).action(async (_: unknown, self: Command) => {
    const options = self.optsWithGlobals<RenderOptions>();
    process.stdout.write(format(await ruleSetFor(options), options));
  });
  addExamples(command, [
    `npx peermasq render ${command.name()} --cluster frontend-cluster`,
    `npx peermasq render ${command.name()} --rule-set rules.txt`,
  ]);
}

const withPlanOptions = (command: Command): Command =>
  command
    .addOption(clusterOption())
    .option('--node <node>', 'the plan of this node: name, ID or CLOUD:ID')
    .option('--rule-set <file>', 'rule set from a file, in the format of `plan -o json`; - for stdin');

function addDaemonSet(render: Command): void {
  const command = withTargetOptions(
    withPlanOptions(
      render
        .command('daemonset')
        .description('Kubernetes manifests that apply the plan or, with --watcher, install only the watcher')
        .option(
          '--watcher',
          'Google Cloud: for nodes that booted before their metadata was set and must not be restarted',
        )
        .option('-n, --namespace <name>', 'namespace of the DaemonSet', parseNamespace, 'kube-system')
        .option('--image <image>', 'an image with bash and nsenter', parseImage, 'debian:bookworm-slim'),
    ),
  ).action(async (_: unknown, self: Command) => {
    const options = self.optsWithGlobals<RenderOptions & DaemonSetOptions & { watcher?: boolean }>();
    const program = loadProgram();
    process.stdout.write(
      options.watcher
        ? renderDaemonSet(program, options)
        : renderRuleSetDaemonSet(program, await ruleSetFor(options), options),
    );
  });
  addExamples(command, [
    'npx peermasq render daemonset --cluster frontend-cluster | kubectl apply -f -',
    'npx peermasq render daemonset --watcher | kubectl apply -f -',
  ]);
}

function addDiagram(render: Command): void {
  const command = withTargetOptions(
    render
      .command('diagram')
      .description('diagram of networks, peerings and clusters, and of what is masqueraded')
      .addOption(clusterOption())
      .addOption(
        new Option('--format <format>', 'diagram format').choices(['mermaid', 'svg']).default('mermaid'),
      ),
  ).action(async (_: unknown, self: Command) => {
    const options = self.optsWithGlobals<RenderOptions & { format: 'mermaid' | 'svg' }>();
    const diagram = await diagramOf(await planOrThrow(options), deadlineOf(options));
    process.stdout.write(options.format === 'svg' ? renderSvg(diagram) : renderMermaid(diagram));
  });
  addExamples(command, [
    'npx peermasq render diagram',
    'npx peermasq render diagram --format svg > coverage.svg',
  ]);
}

async function planOrThrow(options: RenderOptions): Promise<readonly NodePlan[]> {
  const { nodes, errors } = await dryRunFor(options);
  if (errors[0]) throw errors[0].error;
  return nodes;
}

/**
 * Returns the only rule set of the selected nodes.
 * @throws PermanentError if they have no rule set, or several
 */
async function ruleSetFor(options: RenderOptions): Promise<RuleSet> {
  if (options.ruleSet !== undefined)
    return parseRuleSet(readTextFile(options.ruleSet, 'Pass a file, or - for stdin.'));
  const planned = (await planOrThrow(options)).filter(isPlanned);
  const ruleSets = new Map(planned.map(({ outcome: { plan } }) => [plan.id, plan.ruleSet]));
  const [ruleSet] = ruleSets.values();
  if (ruleSet && ruleSets.size === 1) return ruleSet;
  throw new PermanentError(
    'ambiguous-plan',
    `The selected nodes have ${ruleSets.size === 0 ? 'no rule set' : `${ruleSets.size} different rule sets`}`,
    {
      advice:
        'Select one with --cluster or --node. `npx peermasq plan` shows all rule sets, and why nodes have none.',
    },
  );
}

function rejectEmptyFamily(family: string): never {
  throw new PermanentError('no-rules', `The rule set has no IPv${family} rules`, {
    advice: 'Use the other --family, or check `npx peermasq plan`.',
  });
}

/** Parses a namespace, which is a DNS label (RFC 1123). */
function parseNamespace(text: string): string {
  if (/^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/.test(text)) return text;
  throw new InvalidArgumentError('Expected a name such as kube-system.');
}

function parseImage(text: string): string {
  if (/^[a-z0-9][A-Za-z0-9._:/@-]{0,254}$/.test(text)) return text;
  throw new InvalidArgumentError('Expected a reference such as debian:bookworm-slim.');
}
