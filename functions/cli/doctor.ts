import type { Command } from 'commander';
import { diagnose } from '../../shared/core/doctor/diagnose';
import type { Diagnosis } from '../../shared/core/doctor/findings';
import type { Check } from '../../shared/core/doctor/check';
import { escapeControls } from '../../shared/core/util/shell';
import { resolveSource, resolveDestination } from './connection';
import { gatherFindings, snapshotHelp } from './gather-findings';
import { exitCodes } from './errors';
import { colours, examples, outputOption, print, table, type CommandOutput, type Format } from './output';
import { clusterOption, targetArgs, withTargetOptions, type TargetOptions } from './targets';

interface DoctorOptions extends TargetOptions {
  readonly from: string;
  readonly to: string;
  readonly node?: string;
  readonly output: Format;
}

/** `peermasq doctor`: every link between a pod and a peer, and the first that is broken. */
export function addDoctor(program: Command): void {
  const command = withTargetOptions(
    program
      .command('doctor')
      .description(
        'check every link between a pod or a node and a peer, and name the first that is broken. Exits 2 then',
      )
      .requiredOption('--from <pod|node>', "a pod's address, NAMESPACE/POD (kubectl is asked), or a node")
      .requiredOption('--to <host:port>', 'where it cannot get to')
      .option('--node <node>', 'the node that the pod is on: its name, id or CLOUD:ID')
      .addOption(clusterOption())
      .addOption(outputOption()),
  ).action(async (_: unknown, self: Command) => {
    const options = self.optsWithGlobals<DoctorOptions>();
    const from = await resolveSource(options.from, options.node);
    const to = await resolveDestination(options.to, from);
    const findings = await gatherFindings(from, to, options);
    const diagnosis = withTargetArgs(diagnose(findings), options);
    print(formatDiagnosis(options, diagnosis), options.output);
    process.exitCode = exitCodeOf(diagnosis);
  });
  command.addHelpText('after', snapshotHelp);
  examples(command, [
    'npx peermasq doctor --from shop/web-0 --to 10.193.0.3:32191',
    'npx peermasq doctor --from 10.132.0.10 --node gke-frontend-1c6s --to db.internal:5432',
    'npx peermasq doctor --from i-0123456789abcdef0 --to 10.0.3.20:5432 -o json',
  ]);
}

function exitCodeOf({ broken, checks }: Diagnosis): number {
  if (broken) return exitCodes.finding;
  return checks.some(({ state }) => state === 'unknown') ? exitCodes.unknown : exitCodes.ok;
}

/** A command of ours, pasted, is to look where this one did. */
function withTargetArgs({ checks, broken, verdict }: Diagnosis, options: DoctorOptions): Diagnosis {
  const completeFix = (check: Check): Check =>
    check.fix?.includes('npx peermasq ')
      ? { ...check, fix: [check.fix, ...targetArgs(options)].join(' ') }
      : check;
  return { checks: checks.map(completeFix), broken: broken && completeFix(broken), verdict };
}

function formatDiagnosis({ from, to }: DoctorOptions, { checks, broken, verdict }: Diagnosis): CommandOutput {
  const lines = [
    colours.bold(`${from} → ${to}`),
    table(
      ['CHECK', 'STATE', 'EVIDENCE'],
      checks.map((check) => [check.name, stateText(check), check.evidence.map(escapeControls).join('\n')]),
    ),
    '',
    verdictColour({ broken, checks, verdict })(escapeControls(verdict)),
    ...(broken?.fix === undefined ? [] : [`Fix: ${escapeControls(broken.fix)}`]),
    ...checks
      .filter((check) => check.state === 'unknown' && check.fix !== undefined)
      .map(({ name, fix }) => `To see ${name}: ${escapeControls(fix ?? '')}`),
  ];
  return { document: { from, to, checks, broken, verdict }, text: lines.join('\n') };
}

const verdictColour = (diagnosis: Diagnosis) =>
  diagnosis.broken ? colours.red : exitCodeOf(diagnosis) === exitCodes.ok ? colours.green : colours.yellow;

function stateText({ state }: Check): string {
  const colour = {
    ok: colours.green,
    broken: colours.red,
    unknown: colours.yellow,
    'not-needed': colours.dim,
  };
  return colour[state](state.replace('-', ' '));
}
