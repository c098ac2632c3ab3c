import { createInterface } from 'node:readline/promises';
import type { SingleBar } from 'cli-progress';
import type { Command } from 'commander';
import { PermanentError } from '../../../shared/core/errors';
import type { Outcome } from '../../../shared/core/outcome';
import { exitCodes } from '../faults';
import { atLeast, count, examples, outputOption, print, say, type Format } from '../output';
import { progressBar } from '../progress';
import { changesOf, planAnswer, surveyFor, type Planned } from '../plan';
import { tellFaults, type Surveyed } from '../survey';
import { clusterOption, withTargets, type TargetOptions } from '../targets';
import { onInterrupt } from './interrupt';
import { openJournal, prepareJournals, type Journal, type JournalKind } from './journal';
import { pushWave, type PushWave } from './push';
import { planRollback, pushBack } from './rollback';
import { countsOf, exitCodeOf, summary } from './summary';
import { inWaves, type Progress, type WaveOptions } from './waves';

export interface BackfillOptions extends TargetOptions, WaveOptions {
  readonly node?: string;
  readonly acceptLoss?: boolean;
  readonly again?: boolean;
  readonly yes?: boolean;
  readonly rollback?: string | true;
  readonly waveTimeout: number;
  readonly output: Format;
}

/** `peermasq backfill`: what `plan` shows, pushed in waves. */
export function addBackfill(program: Command): void {
  const command = withTargets(
    program
      .command('backfill')
      .description('plan, ask, and push in waves; run it again to go on where it stopped')
      .addOption(clusterOption())
      .option('--node <node>', 'only this node: its name, id or CLOUD:ID')
      .option(
        '--again',
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
      .option('--accept-loss', 'take rules away though far fewer routes are found than they were made from')
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
    'npx peermasq backfill --again --node i-0123456789abcdef0',
    'npx peermasq backfill --rollback',
  ]);
}

async function backfill(options: BackfillOptions): Promise<void> {
  prepareJournals();
  if (options.rollback !== undefined) {
    const { nodes, isWhole } = await planRollback(options);
    if (nodes.length > 0) say(planAnswer({ nodes, faults: [] }).text);
    await run('rollback', nodes, pushBack, options);
    if (!isWhole && !process.exitCode) process.exitCode = exitCodes.fault;
    if (nodes.length > 0) say(untilSweep);
    return;
  }
  const seen = await surveyFor(options);
  const isAgain = options.again === true;
  const changes = changesOf(seen.nodes, isAgain);
  say(planAnswer(seen, isAgain).text);
  // What was not seen cannot be in a roll-out that claims to be whole.
  if (tellFaults(seen, options.debug)) return;
  await run('backfill', changes, pushWave({ acceptsLoss: options.acceptLoss === true, isAgain }), options);
  if (seen.nodes.some(isLeft) && !process.exitCode) process.exitCode = exitCodes.fault;
}

const untilSweep =
  'The next sweep brings the config’s rule sets again: deploy the config that you want before it comes.';

/** It is to get something that is not known, or held back: the plan said why. */
const isLeft = ({ outcome: { kind } }: Surveyed): boolean => kind !== 'planned' && kind !== 'skipped';

async function run(
  kind: JournalKind,
  nodes: readonly Planned[],
  push: PushWave,
  options: BackfillOptions,
): Promise<void> {
  const lost = nodes.filter(({ node, before }) => node.recorded && !before);
  if (lost.length > 0)
    say(`What ${count(lost.length, 'node')} have now is not known: a rollback will leave these as they are.`);
  if (nodes.length > 0) await confirm(nodes, options);
  const journal = openJournal(kind, nodes);
  const interrupt = onInterrupt(journal);
  const bar = progressBar(nodes.length);
  try {
    const waved = await inWaves(
      nodes,
      options,
      (progress) => wave(progress, push, journal, options, bar),
      interrupt.isStopped,
    );
    bar?.stop();
    print(summary(nodes, waved, journal), options.output);
    process.exitCode = interrupt.isStopped() ? exitCodes.interrupted : exitCodeOf(nodes, waved);
  } finally {
    bar?.stop();
    interrupt.end();
  }
}

/** @throws PermanentError where nobody can be asked, or the answer is no */
async function confirm(nodes: readonly Planned[], { yes, canary, wave }: BackfillOptions): Promise<void> {
  if (yes) return;
  if (!process.stdin.isTTY) {
    throw new PermanentError('not-confirmed', 'Nobody can be asked here: stdin is no terminal', 'Say --yes.');
  }
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const plan = `${count(Math.min(canary, nodes.length), 'canary node')} first, then ${wave} at a time`;
  const question = `Push to ${count(nodes.length, 'node')}, ${plan}? Only "yes" goes on: `;
  const left = new AbortController();
  lines.once('close', () => {
    left.abort();
  });
  try {
    if ((await lines.question(question, { signal: left.signal })).trim() === 'yes') return;
  } catch (error) {
    if ((error as Error).name !== 'AbortError') throw error;
    say('\nNothing was pushed.');
    process.exit(exitCodes.interrupted);
  } finally {
    lines.close();
  }
  throw new PermanentError('not-confirmed', 'Nothing was pushed', 'Answer yes to go on, or say --yes.');
}

async function wave(
  { wave: number, waves, nodes }: Progress,
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
  say(`${label}: ${countsOf(outcomes)}`);
  if (number < waves) bar?.start(bar.getTotal(), bar.getProgress() * bar.getTotal(), { label });
  return outcomes;
}
