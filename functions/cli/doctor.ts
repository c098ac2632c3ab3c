import type { Command } from 'commander';
import { diagnose, type Diagnosis } from '../../shared/core/doctor';
import type { Check } from '../../shared/core/reach';
import { visible } from '../../shared/core/shell';
import { readFrom, readTo } from './connection';
import { examine, howNodesAreAsked } from './examine';
import { exitCodes } from './faults';
import { colours, examples, outputOption, print, table, type Answer, type Format } from './output';
import { clusterOption, targetWords, withTargets, type TargetOptions } from './targets';

interface DoctorOptions extends TargetOptions {
  readonly from: string;
  readonly to: string;
  readonly node?: string;
  readonly output: Format;
}

/** `peermasq doctor`: every link between a pod and a peer, and the first that is broken. */
export function addDoctor(program: Command): void {
  const command = withTargets(
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
    const from = await readFrom(options.from, options.node);
    const to = await readTo(options.to, from);
    const findings = await examine(from, to, options);
    const diagnosis = forTargets(diagnose(findings), options);
    print(doctorAnswer(options, diagnosis), options.output);
    process.exitCode = exitCodeOf(diagnosis);
  });
  command.addHelpText('after', howNodesAreAsked);
  examples(command, [
    'npx peermasq doctor --from shop/web-0 --to 10.193.0.3:32191',
    'npx peermasq doctor --from 10.132.0.10 --node gke-frontend-1c6s --to db.internal:5432',
    'npx peermasq doctor --from i-0123456789abcdef0 --to 10.0.3.20:5432 -o json',
  ]);
}

function exitCodeOf({ broken, checks }: Diagnosis): number {
  if (broken) return exitCodes.finding;
  return checks.some(({ state }) => state === 'unknown') ? exitCodes.uncertain : exitCodes.fine;
}

/** A command of ours, pasted, is to look where this one did. */
function forTargets({ checks, broken, verdict }: Diagnosis, options: DoctorOptions): Diagnosis {
  const complete = (check: Check): Check =>
    check.cure?.includes('npx peermasq ')
      ? { ...check, cure: [check.cure, ...targetWords(options)].join(' ') }
      : check;
  return { checks: checks.map(complete), broken: broken && complete(broken), verdict };
}

function doctorAnswer({ from, to }: DoctorOptions, { checks, broken, verdict }: Diagnosis): Answer {
  const lines = [
    colours.bold(`${from} → ${to}`),
    table(
      ['LINK', 'STATE', 'EVIDENCE'],
      checks.map((check) => [check.link, stateText(check), check.evidence.map(visible).join('\n')]),
    ),
    '',
    verdictColour({ broken, checks, verdict })(visible(verdict)),
    ...(broken?.cure === undefined ? [] : [`Mend it: ${visible(broken.cure)}`]),
    ...checks
      .filter((check) => check.state === 'unknown' && check.cure !== undefined)
      .map(({ link, cure }) => `To see ${link}: ${visible(cure ?? '')}`),
  ];
  return { document: { from, to, checks, broken, verdict }, text: lines.join('\n') };
}

const verdictColour = (diagnosis: Diagnosis) =>
  diagnosis.broken ? colours.red : exitCodeOf(diagnosis) === exitCodes.fine ? colours.green : colours.yellow;

function stateText({ state }: Check): string {
  const colour = {
    ok: colours.green,
    broken: colours.red,
    unknown: colours.yellow,
    'not-needed': colours.dim,
  };
  return colour[state](state.replace('-', ' '));
}
