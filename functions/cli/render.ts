import { InvalidArgumentError, Option, type Command } from 'commander';
import { PermanentError } from '../../shared/core/model/errors';
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
import { parseRuleSet, type RuleSet } from '../../shared/core/model/rule-set';
import { loadProgram } from '../runtime/settings';
import { readTextFile } from './config';
import { diagramOf } from './render/diagram';
import { examples } from './output';
import { runDryRun } from './plan';
import { clusterOption, deadlineOf, withTargetOptions, type TargetOptions } from './targets';

interface RenderOptions extends TargetOptions {
  readonly node?: string;
  readonly ruleSet?: string;
  /** Of `iptables` alone. */
  readonly family?: '4' | '6';
}

/** `peermasq render`: a plan in the forms that others use. */
export function addRender(program: Command): void {
  const render = program.command('render').description('print a plan in the forms that others use');
  addForm(render, 'iptables', 'text for iptables-restore --noflush', (ruleSet, { family = '4' }) => {
    const text = renderIptables(ruleSet, family === '4' ? 4 : 6);
    return text ?? noRules(family);
  }).addOption(new Option('--family <family>', 'IPv4 or IPv6').choices(['4', '6']).default('4'));
  addForm(
    render,
    'startup-script',
    'a script that installs the node program and applies the rule set',
    (ruleSet) => renderStartupScript(loadProgram(), ruleSet),
  );
  addForm(
    render,
    'ip-masq-agent',
    'the ConfigMap of ip-masq-agent, for clusters that run it',
    renderIpMasqAgent,
  );
  addDaemonSet(render);
  addDiagram(render);
}

/** A form that is made of one rule set: that of the nodes asked for, or one from a file. */
function addForm(
  render: Command,
  name: string,
  description: string,
  form: (ruleSet: RuleSet, options: RenderOptions) => string,
): Command {
  const command = withTargetOptions(withPlan(render.command(name).description(description))).action(
    async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<RenderOptions>();
      process.stdout.write(form(await ruleSetFor(options), options));
    },
  );
  return examples(command, [
    `npx peermasq render ${name} --cluster frontend-cluster`,
    `npx peermasq render ${name} --rule-set rules.txt`,
  ]);
}

const withPlan = (command: Command): Command =>
  command
    .addOption(clusterOption())
    .option('--node <node>', 'the plan of this node: its name, id or CLOUD:ID')
    .option('--rule-set <file>', 'a rule set from a file instead, as `plan -o json` prints them; - is stdin');

function addDaemonSet(render: Command): void {
  const command = withTargetOptions(
    withPlan(
      render
        .command('daemonset')
        .description(
          'Kubernetes manifests that put the plan in force; --watcher: that install the watcher alone',
        )
        .option(
          '--watcher',
          'Google Cloud: for nodes that were handed their rules too late and must not be restarted',
        )
        .option('-n, --namespace <name>', 'where the DaemonSet lives', namespace, 'kube-system')
        .option('--image <image>', 'an image with bash and nsenter', image, 'debian:bookworm-slim'),
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
  examples(command, [
    'npx peermasq render daemonset --cluster frontend-cluster | kubectl apply -f -',
    'npx peermasq render daemonset --watcher | kubectl apply -f -',
  ]);
}

function addDiagram(render: Command): void {
  const command = withTargetOptions(
    render
      .command('diagram')
      .description('networks, peerings, clusters, and how far these masquerade')
      .addOption(clusterOption())
      .addOption(
        new Option('--format <format>', 'what is drawn').choices(['mermaid', 'svg']).default('mermaid'),
      ),
  ).action(async (_: unknown, self: Command) => {
    const options = self.optsWithGlobals<RenderOptions & { format: 'mermaid' | 'svg' }>();
    const { nodes, errors } = await runDryRun(options);
    if (errors[0]) throw errors[0].error;
    const diagram = await diagramOf(nodes, deadlineOf(options));
    process.stdout.write(options.format === 'svg' ? renderSvg(diagram) : renderMermaid(diagram));
  });
  examples(command, [
    'npx peermasq render diagram',
    'npx peermasq render diagram --format svg > coverage.svg',
  ]);
}

/** @throws PermanentError unless it is one */
async function ruleSetFor(options: RenderOptions): Promise<RuleSet> {
  if (options.ruleSet !== undefined)
    return parseRuleSet(readTextFile(options.ruleSet, 'Name a file, or - for stdin.'));
  const { nodes, errors } = await runDryRun(options);
  if (errors[0]) throw errors[0].error;
  const plans = new Map(
    nodes.flatMap(({ outcome }) =>
      outcome.kind === 'planned' ? [[outcome.plan.id, outcome.plan.ruleSet] as const] : [],
    ),
  );
  const [ruleSet] = plans.values();
  if (ruleSet && plans.size === 1) return ruleSet;
  throw new PermanentError(
    'ambiguous-plan',
    `The nodes asked for have ${plans.size === 0 ? 'no rule set' : `${plans.size} different rule sets`}`,
    'Name one with --cluster or --node; `npx peermasq plan` shows all, and why nodes have none.',
  );
}

function noRules(family: string): never {
  throw new PermanentError(
    'no-rules',
    `The rule set has no rules for IPv${family}`,
    'Say the other --family, or look at `npx peermasq plan`.',
  );
}

/** RFC 1123, as Kubernetes wants names. */
function namespace(text: string): string {
  if (/^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/.test(text)) return text;
  throw new InvalidArgumentError('Accepted is a name such as kube-system.');
}

function image(text: string): string {
  if (/^[a-z0-9][A-Za-z0-9._:/@-]{0,254}$/.test(text)) return text;
  throw new InvalidArgumentError('Accepted is a reference such as debian:bookworm-slim.');
}
