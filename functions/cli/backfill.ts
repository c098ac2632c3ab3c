import type { SingleBar } from 'cli-progress';
import type { Command } from 'commander';
import type { Outcome } from '../../shared/core/reconcile/outcome';
import { confirm } from './backfill/confirm';
import { ensureJournalDirectory, openJournal, type Journal, type JournalKind } from './backfill/journal';
import type { BackfillOptions } from './backfill/options';
import { pushWave, type PushWave } from './backfill/push';
import { planRollback, pushRollback } from './backfill/rollback';
import { countOutcomes, exitCodeOf, interruptReport, summarize } from './backfill/summary';
import { runInWaves, type Wave } from './backfill/waves';
import { changesOf, dryRunFor, isPlanned, reportErrors, type NodePlan, type PlannedChange } from './dry-run';
import { exitCodes, onInterrupt } from './exit';
import { formatPlan } from './format-plan';
import { addExamples, atLeast, clusterOption, outputOption, withTargetOptions } from './options';
import { count, print, printErr, progressBar } from './output';

export function addBackfill(program: Command): void {
  const command = withTargetOptions(
    withBackfillOptions(
      program
        .command('backfill')
        .description('plan, confirm, and push in waves; run it again to resume')
        .addOption(clusterOption())
        .option('--node <node>', 'only this node: name, ID or CLOUD:ID')
        .addOption(outputOption()),
    ),
  ).action(async (_: unknown, self: Command) => {
    const options = self.optsWithGlobals<BackfillOptions>();
    ensureJournalDirectory();
    if (options.rollback === undefined) await backfill(options);
    else await rollBack(options);
  });
  addExamples(command, [
    'npx peermasq backfill --cluster frontend-cluster --canary 2',
    'npx peermasq backfill --yes --max-failures 3 -o json',
    'npx peermasq backfill --force --node i-0123456789abcdef0',
    'npx peermasq backfill --rollback',
  ]);
}

const withBackfillOptions = (command: Command): Command =>
  command
    .option('--force', 'also push to proven nodes, to restore rules that were changed on the node')
    .option('-y, --yes', 'skip the confirmation prompt')
    .option(
      '--canary <n>',
      'nodes in the first wave; all must be proven before the next one starts',
      atLeast(0),
      1,
    )
    .option('--wave <n>', 'nodes in each later wave', atLeast(1), 50)
    .option(
      '--max-failures <n>',
      'stop before the next wave if more nodes than this have failed',
      atLeast(0),
      0,
    )
    .option('--wave-timeout <seconds>', 'time limit for the nodes of a wave to be proven', atLeast(1), 300)
    .option('--allow-route-loss', 'push plans that remove rules because far fewer routes were found')
    .option(
      '--rollback [journal]',
      'restore the rule sets from before a backfill (default: the last backfill on this machine)',
    );

async function backfill(options: BackfillOptions): Promise<void> {
  const { force = false, allowRouteLoss = false } = options;
  const result = await dryRunFor({ ...options, withBefore: true });
  const changes = force ? result.nodes.filter(isPlanned) : changesOf(result.nodes);
  printErr(formatPlan(result, changes).text);
  // If a target could not be checked, the rollout must not look complete.
  if (reportErrors(result, options)) return;
  const unresolved = result.nodes.filter(isUnresolved);
  if (changes.length > 0)
    await pushInWaves(changes, pushWave({ allowRouteLoss, force }), 'backfill', options);
  else if (unresolved.length > 0)
    printNothingToDo('Nothing to push. See above for nodes without a plan.', options);
  else printNothingToDo('Nothing to do: all nodes are up to date.', options);
  if (unresolved.length > 0 && !process.exitCode) process.exitCode = exitCodes.error;
}

async function rollBack(options: BackfillOptions): Promise<void> {
  const { nodes, isComplete } = await planRollback(options);
  if (nodes.length > 0) {
    printErr(formatPlan({ nodes, errors: [] }, changesOf(nodes)).text);
    await pushInWaves(nodes, pushRollback, 'rollback', options);
    printErr(
      'The next sweep pushes the rule sets of the deployed config again. Deploy the config you want before that.',
    );
  } else printNothingToDo('Nothing to roll back.', options);
  if (!isComplete && !process.exitCode) process.exitCode = exitCodes.error;
}

/** The node is held, has failed or is pending; the plan shows the reason. */
const isUnresolved = ({ outcome: { kind } }: NodePlan): boolean => kind !== 'planned' && kind !== 'skipped';

function printNothingToDo(text: string, { output }: BackfillOptions): void {
  print({ document: { nodes: [], stopReason: null, journal: null }, text }, output);
}

async function pushInWaves(
  nodes: readonly PlannedChange[],
  push: PushWave,
  kind: JournalKind,
  options: BackfillOptions,
): Promise<void> {
  const unknownBefore = nodes.filter(({ node, before }) => node.recorded && !before).length;
  if (unknownBefore > 0)
    printErr(`A rollback will not include ${count(unknownBefore, 'node')}: current rule set unknown.`);
  await confirm(nodes, options);
  const journal = openJournal(kind, nodes);
  const interrupt = new AbortController();
  const stopListening = onInterrupt({
    onFirst: () => {
      interrupt.abort();
      printErr(
        '\nInterrupted. Finishing the current wave; no more will start. Press Ctrl-C again to exit immediately.',
      );
    },
    beforeExit: () => {
      printErr(`\n${interruptReport(journal)}`);
    },
  });
  const bar = progressBar(nodes.length);
  try {
    const result = await runInWaves(nodes, options, {
      push: (wave) => pushOneWave(wave, { push, journal, bar, waveTimeout: options.waveTimeout }),
      isInterrupted: () => interrupt.signal.aborted,
    });
    bar?.stop();
    print(summarize(nodes, result, journal), options.output);
    process.exitCode = interrupt.signal.aborted ? exitCodes.interrupted : exitCodeOf(nodes, result);
  } finally {
    bar?.stop();
    stopListening();
  }
}

interface WavePush {
  readonly push: PushWave;
  readonly journal: Journal;
  readonly bar: SingleBar | undefined;
  readonly waveTimeout: number;
}

async function pushOneWave(
  { number, total, nodes }: Wave,
  { push, journal, bar, waveTimeout }: WavePush,
): Promise<readonly Outcome[]> {
  journal.begin(nodes);
  const label = `wave ${number} of ${total}`;
  bar?.update({ label });
  const outcomes = await push(nodes, {
    deadline: Date.now() + waveTimeout * 1_000,
    onProven: (proven) => bar?.increment(proven),
  });
  journal.end(outcomes);
  bar?.stop();
  printErr(`${label}: ${countOutcomes(outcomes)}`);
  if (number < total) bar?.start(bar.getTotal(), bar.getProgress() * bar.getTotal(), { label });
  return outcomes;
}
