import tab from '@bomb.sh/tab/commander';
import type { Command } from 'commander';
import { configPath, readConfig } from './config';

/** `peermasq completion SHELL`: the script that has a shell complete commands, options and the config's clusters. */
export function addCompletion(program: Command): void {
  const completion = tab(program, { completionCommandName: 'completion' });
  for (const command of completion.commands.values()) {
    const option = command.options.get('cluster');
    if (option)
      option.handler = (complete) => {
        for (const name of clusters()) complete(name, '');
      };
  }
}

/** None where the config cannot be read: nobody sees a fault while completing. */
function clusters(): string[] {
  try {
    return readConfig(configPath(undefined)).clusters.map(({ name }) => name);
  } catch {
    return [];
  }
}
