import tab from '@bomb.sh/tab/commander';
import type { Command } from 'commander';
import { tryParse } from '../../shared/core/util/functional';
import { configPath, readConfig } from './options';

/**
 * Adds the command `completion SHELL`, which prints a script that completes commands, options and the names of
 * configured clusters.
 */
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

/** Returns no names if the config is invalid, because a shell does not show errors during completion. */
function clusterNames(): string[] {
  const config = tryParse(() => readConfig(configPath(undefined)));
  return config?.clusters.map(({ name }) => name) ?? [];
}
