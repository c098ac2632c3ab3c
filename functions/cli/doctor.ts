import type { Command } from 'commander';
import type { Check } from '../../shared/core/doctor/check';
import { diagnose } from '../../shared/core/doctor/diagnose';
import type { Diagnosis } from '../../shared/core/doctor/findings';
import { escapeControls } from '../../shared/core/util/shell';
import { resolveDestination, resolveSource } from './connection';
import { exitCodes } from './exit';
import { gatherFindings, snapshotHelp } from './gather-findings';
import { addExamples, clusterOption, outputOption, targetArgs, withTargetOptions } from './options';
import { colours, print, table, type CommandOutput, type Format } from './output';
import type { TargetOptions } from './targets';

interface DoctorOptions extends TargetOptions {
  readonly from: string;
  readonly to: string;
  readonly node?: string;
  readonly output: Format;
}

export function addDoctor(program: Command): void {
  const command = withTargetOptions(
    program
      .command('doctor')
      .description(
        'check every step from a pod or node to a peer and name the first broken check. Exits with 2 if a check is broken',
      )
      .requiredOption('--from <pod|node>', 'pod address, NAMESPACE/POD (looked up with kubectl), or node')
      .requiredOption('--to <host:port>', 'destination')
      .option('--node <node>', 'the node that the pod runs on: name, ID or CLOUD:ID')
      .addOption(clusterOption())
      .addOption(outputOption()),
  ).action(async (_: unknown, self: Command) => {
    const options = self.optsWithGlobals<DoctorOptions>();
    const from = await resolveSource(options.from, options.node);
    const to = await resolveDestination(options.to, from);
    const findings = await gatherFindings({ from, to }, options);
    const diagnosis = withTargetArgs(diagnose(findings), options);
    print(formatDiagnosis(options, diagnosis), options.output);
    process.exitCode = exitCodeOf(diagnosis);
  });
  command.addHelpText('after', snapshotHelp);
  addExamples(command, [
    'npx peermasq doctor --from shop/web-0 --to 10.193.0.3:32191',
    'npx peermasq doctor --from 10.132.0.10 --node gke-frontend-1c6s --to db.internal:5432',
    'npx peermasq doctor --from i-0123456789abcdef0 --to 10.0.3.20:5432 -o json',
  ]);
}

function exitCodeOf({ broken, checks }: Diagnosis): number {
  if (broken) return exitCodes.finding;
  return checks.some(({ state }) => state === 'unknown') ? exitCodes.unknown : exitCodes.ok;
}

/**
 * Adds the target options of this run to every fix that is a peermasq command, so that the command finds the same
 * node.
 */
function withTargetArgs({ checks, broken, verdict }: Diagnosis, options: DoctorOptions): Diagnosis {
  const completeFix = (check: Check): Check =>
    check.fix?.includes('npx peermasq ')
      ? { ...check, fix: [check.fix, ...targetArgs(options)].join(' ') }
      : check;
  return { checks: checks.map(completeFix), broken: broken && completeFix(broken), verdict };
}

function formatDiagnosis({ from, to }: DoctorOptions, diagnosis: Diagnosis): CommandOutput {
  const { checks, broken, verdict } = diagnosis;
  const rows = checks.map((check) => [
    check.name,
    formatState(check),
    check.evidence.map(escapeControls).join('\n'),
  ]);
  const lines = [
    colours.bold(`${from} → ${to}`),
    table(['CHECK', 'STATE', 'EVIDENCE'], rows),
    '',
    verdictColour(diagnosis)(escapeControls(verdict)),
    ...(broken?.fix === undefined ? [] : [`Fix: ${escapeControls(broken.fix)}`]),
    ...checks.flatMap(({ name, state, fix }) =>
      state === 'unknown' && fix !== undefined ? [`To check ${name}: ${escapeControls(fix)}`] : [],
    ),
  ];
  return { document: { from, to, checks, broken, verdict }, text: lines.join('\n') };
}

function verdictColour(diagnosis: Diagnosis) {
  if (diagnosis.broken) return colours.red;
  return exitCodeOf(diagnosis) === exitCodes.ok ? colours.green : colours.yellow;
}

function formatState({ state }: Check): string {
  const colour = {
    ok: colours.green,
    broken: colours.red,
    unknown: colours.yellow,
    'not-needed': colours.dim,
  };
  return colour[state](state.replace('-', ' '));
}
