import tab from '@bomb.sh/tab/commander';
import type { Command } from 'commander';
import { tryParse } from '../../shared/core/util/functional';
import { configPath, readConfig } from './options';

/** Adds `completion SHELL`: a script that completes commands, options and the clusters of the config. */
export function addCompletion(program: Command): void {
  const completion = tab(program, { completionCommandName: 'completion' });
  for (const command of completion.commands.values()) {
    const option = command.options.get('cluster');
    if (option)
      option.handler = (complete) => {
        for (const name of clusterNames()) complete(name, '');
      };
  }
}

/** No names for an invalid config: a shell does not show errors while it completes. */
function clusterNames(): string[] {
  const config = tryParse(() => readConfig(configPath(undefined)));
  return config?.clusters.map(({ name }) => name) ?? [];
}
