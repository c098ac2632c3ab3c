import { createInterface } from 'node:readline/promises';
import type { SingleBar } from 'cli-progress';
import type { Command } from 'commander';
import { PermanentError } from '../../shared/core/model/errors';
import type { Outcome } from '../../shared/core/reconcile/outcome';
import { exitCodes } from './errors';
import { atLeast, count, examples, outputOption, print, printErr, type Format } from './output';
import { progressBar } from './progress';
import { changesOf, formatPlan, runDryRun, type PlannedChange } from './plan';
import { reportErrors, type NodePlan } from './dry-run';
import { clusterOption, withTargetOptions, type TargetOptions } from './targets';
import { onInterrupt } from './backfill/interrupt';
import { openJournal, ensureJournalDirectory, type Journal, type JournalKind } from './backfill/journal';
import { pushWave, type PushWave } from './backfill/push';
import { planRollback, pushRollback } from './backfill/rollback';
import { countsOf, exitCodeOf, summary } from './backfill/summary';
import { runInWaves, type WaveProgress, type WaveOptions } from './backfill/waves';

export interface BackfillOptions extends TargetOptions, WaveOptions {
  readonly node?: string;
  readonly allowRouteLoss?: boolean;
  readonly force?: boolean;
  readonly yes?: boolean;
  readonly rollback?: string | true;
  readonly waveTimeout: number;
  readonly output: Format;
}

/** `peermasq backfill`: what `plan` shows, pushed in waves. */
export function addBackfill(program: Command): void {
  const command = withTargetOptions(
    program
      .command('backfill')
      .description('plan, ask, and push in waves; run it again to go on where it stopped')
      .addOption(clusterOption())
      .option('--node <node>', 'only this node: its name, id or CLOUD:ID')
      .option(
        '--force',
        'push also to nodes that have proven their rules: they put right what somebody changed',
      )
      .option('-y, --yes', 'do not ask')
      .option(
        '--canary <n>',
        'how many nodes go first, alone; all must be proven before others follow',
        atLeast(0),
        1,
      )
      .option('--wave <n>', 'how many nodes go at a time after them', atLeast(1), 50)
      .option('--max-failures <n>', 'begin no further wave when more have failed', atLeast(0), 0)
      .option('--wave-timeout <seconds>', 'how long a wave may take to be proven', atLeast(1), 300)
      .option(
        '--allow-route-loss',
        'take rules away though far fewer routes are found than they were made from',
      )
      .option(
        '--rollback [journal]',
        'return what nodes had before a backfill (default: the last from this machine)',
      )
      .addOption(outputOption()),
  ).action(async (_: unknown, self: Command) => {
    await backfill(self.optsWithGlobals<BackfillOptions>());
  });
  examples(command, [
    'npx peermasq backfill --cluster frontend-cluster --canary 2',
    'npx peermasq backfill --yes --max-failures 3 -o json',
    'npx peermasq backfill --force --node i-0123456789abcdef0',
    'npx peermasq backfill --rollback',
  ]);
}

async function backfill(options: BackfillOptions): Promise<void> {
  ensureJournalDirectory();
  if (options.rollback !== undefined) {
    const { nodes, isComplete } = await planRollback(options);
    if (nodes.length > 0) printErr(formatPlan({ nodes, errors: [] }).text);
    await pushInWaves('rollback', nodes, pushRollback, options);
    if (!isComplete && !process.exitCode) process.exitCode = exitCodes.error;
    if (nodes.length > 0) printErr(rollbackNotice);
    return;
  }
  const dryRunResult = await runDryRun(options);
  const force = options.force === true;
  const changes = changesOf(dryRunResult.nodes, force);
  printErr(formatPlan(dryRunResult, force).text);
  // What was not seen cannot be in a roll-out that claims to be whole.
  if (reportErrors(dryRunResult, options.debug)) return;
  await pushInWaves(
    'backfill',
    changes,
    pushWave({ allowRouteLoss: options.allowRouteLoss === true, force }),
    options,
  );
  if (dryRunResult.nodes.some(isUnresolved) && !process.exitCode) process.exitCode = exitCodes.error;
}

const rollbackNotice =
  'The next sweep brings the config’s rule sets again: deploy the config that you want before it comes.';

/** It is to get something that is not known, or held back: the plan said why. */
const isUnresolved = ({ outcome: { kind } }: NodePlan): boolean => kind !== 'planned' && kind !== 'skipped';

async function pushInWaves(
  kind: JournalKind,
  nodes: readonly PlannedChange[],
  push: PushWave,
  options: BackfillOptions,
): Promise<void> {
  const unknownBefore = nodes.filter(({ node, before }) => node.recorded && !before);
  if (unknownBefore.length > 0)
    printErr(
      `What ${count(unknownBefore.length, 'node')} have now is not known: a rollback will leave these as they are.`,
    );
  if (nodes.length > 0) await confirm(nodes, options);
  const journal = openJournal(kind, nodes);
  const interrupt = onInterrupt(journal);
  const bar = progressBar(nodes.length);
  try {
    const waveResult = await runInWaves(
      nodes,
      options,
      (progress) => wave(progress, push, journal, options, bar),
      interrupt.isStopped,
    );
    bar?.stop();
    print(summary(nodes, waveResult, journal), options.output);
    process.exitCode = interrupt.isStopped() ? exitCodes.interrupted : exitCodeOf(nodes, waveResult);
  } finally {
    bar?.stop();
    interrupt.end();
  }
}

/** @throws PermanentError where nobody can be asked, or the answer is no */
async function confirm(
  nodes: readonly PlannedChange[],
  { yes, canary, wave }: BackfillOptions,
): Promise<void> {
  if (yes) return;
  if (!process.stdin.isTTY) {
    throw new PermanentError('not-confirmed', 'Nobody can be asked here: stdin is no terminal', 'Say --yes.');
  }
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const plan = `${count(Math.min(canary, nodes.length), 'canary node')} first, then ${wave} at a time`;
  const question = `Push to ${count(nodes.length, 'node')}, ${plan}? Only "yes" goes on: `;
  const closed = new AbortController();
  lines.once('close', () => {
    closed.abort();
  });
  try {
    if ((await lines.question(question, { signal: closed.signal })).trim() === 'yes') return;
  } catch (error) {
    if ((error as Error).name !== 'AbortError') throw error;
    printErr('\nNothing was pushed.');
    process.exit(exitCodes.interrupted);
  } finally {
    lines.close();
  }
  throw new PermanentError('not-confirmed', 'Nothing was pushed', 'Answer yes to go on, or say --yes.');
}

async function wave(
  { wave: number, waves, nodes }: WaveProgress,
  push: PushWave,
  journal: Journal,
  { waveTimeout }: BackfillOptions,
  bar: SingleBar | undefined,
): Promise<readonly Outcome[]> {
  journal.begin(nodes);
  const label = `wave ${number} of ${waves}`;
  bar?.update({ label });
  const outcomes = await push(nodes, Date.now() + waveTimeout * 1_000, (proven) => bar?.increment(proven));
  journal.end(outcomes);
  bar?.stop();
  printErr(`${label}: ${countsOf(outcomes)}`);
  if (number < waves) bar?.start(bar.getTotal(), bar.getProgress() * bar.getTotal(), { label });
  return outcomes;
}
