import type { Command } from 'commander';
import { ConfigError } from '../../shared/core/model/config';
import { configPath, readConfig } from './config';
import { exitCodes } from './errors';
import { count, examples, outputOption, print, type CommandOutput, type Format } from './output';

/** `peermasq validate`: every fault of the config at once. */
export function addValidate(program: Command): void {
  const command = program
    .command('validate')
    .description('say what is wrong with peermasq.yaml: every fault at once, with line and column')
    .argument('[file]', 'the config (default: $PEERMASQ_CONFIG, else peermasq.yaml)')
    .addOption(outputOption())
    .action((file: string | undefined, { output }: { output: Format }) => {
      const { result, isValid } = validate(configPath(file));
      print(result, output);
      process.exitCode = isValid ? exitCodes.ok : exitCodes.error;
    });
  examples(command, ['npx peermasq validate', 'npx peermasq validate staging.yaml -o json']);
}

/** @throws PermanentError where there is no such file */
function validate(file: string): { result: CommandOutput; isValid: boolean } {
  try {
    const { clusters } = readConfig(file);
    const names = clusters.map(({ name }) => name);
    const text = `${file}: ${count(clusters.length, 'cluster')}, no faults: ${names.join(', ')}`;
    return { result: { document: { file, clusters: names, errors: [] }, text }, isValid: true };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const { errors } = error;
    const text = errors
      .map(({ line, column, path, message }) => `${file}:${line}:${column}: ${path}: ${message}`)
      .join('\n');
    return {
      result: { document: { file, errors }, text: `${text}\n${count(errors.length, 'fault')}` },
      isValid: false,
    };
  }
}
