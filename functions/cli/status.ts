import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from 'commander';
import { dryRunFor, reportErrors, type DryRunResult } from './dry-run';
import { exitCodes } from './exit';
import { formatStatus } from './format-status';
import { openTargets } from './open-targets';
import { addExamples, atLeast, clusterOption, outputOption, withTargetOptions } from './options';
import { print, type Format } from './output';
import type { TargetOptions } from './targets';

interface StatusOptions extends TargetOptions {
  readonly all?: boolean;
  readonly watch?: boolean;
  /** The time between two refreshes, in seconds. */
  readonly interval: number;
  readonly output: Format;
}

export function addStatus(program: Command): void {
  const command = withTargetOptions(
    program
      .command('status')
      .description(
        'show the state of the nodes: proven, pending, failed, needs-reboot or skipped, and which nodes have drifted',
      )
      .addOption(clusterOption())
      .option('-a, --all', 'also list nodes that are proven or skipped')
      .option('-w, --watch', 'refresh until Ctrl-C')
      .option('--interval <seconds>', 'time between two refreshes', atLeast(1), 10)
      .addOption(outputOption()),
  ).action(async (_: unknown, self: Command) => {
    const options = self.optsWithGlobals<StatusOptions>();
    if (options.watch) await watch(options);
    else show(await dryRunFor(options), options);
  });
  addExamples(command, [
    'npx peermasq status',
    'npx peermasq status --all -o json',
    'npx peermasq status --watch',
  ]);
}

function show(result: DryRunResult, options: StatusOptions): void {
  print(formatStatus(result, { all: options.all === true, now: new Date() }), options.output);
  reportErrors(result, options);
}

/** Refreshes the status until the user interrupts. An error in a target is printed and does not end the loop. */
async function watch(options: StatusOptions): Promise<never> {
  process.once('SIGINT', () => process.exit(exitCodes.ok));
  const targets = await openTargets(options);
  for (;;) {
    const result = await dryRunFor(options, targets);
    if (process.stdout.isTTY && options.output === 'table') console.clear();
    show(result, options);
    await pause(options.interval * 1_000);
  }
}
