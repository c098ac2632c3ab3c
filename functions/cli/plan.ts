import type { Command } from 'commander';
import { changesOf, dryRunFor, reportErrors, type DryRunCommandOptions } from './dry-run';
import { exitCodes } from './exit';
import { formatPlan } from './format-plan';
import { addExamples, clusterOption, outputOption, withTargetOptions } from './options';
import { print, type Format } from './output';

interface PlanOptions extends DryRunCommandOptions {
  readonly output: Format;
}

export function addPlan(program: Command): void {
  const command = withTargetOptions(
    program
      .command('plan')
      .description(
        'show what every node would get and why; pushes nothing. Exits with 2 if there are changes',
      )
      .addOption(clusterOption())
      .option('--node <node>', 'only this node: name, ID or CLOUD:ID')
      .option('--allow-route-loss', 'include plans that remove rules because far fewer routes were found')
      .addOption(outputOption()),
  ).action(async (_: unknown, self: Command) => {
    const options = self.optsWithGlobals<PlanOptions>();
    const result = await dryRunFor({ ...options, withBefore: true });
    const changes = changesOf(result.nodes);
    print(formatPlan(result, changes), options.output);
    if (reportErrors(result, options)) return;
    process.exitCode = changes.length > 0 ? exitCodes.finding : exitCodes.ok;
  });
  addExamples(command, [
    'npx peermasq plan',
    'npx peermasq plan --cloud gcp --project identity-nonprod --cluster frontend-cluster',
    'npx peermasq plan --node i-0123456789abcdef0 -o json',
  ]);
}
