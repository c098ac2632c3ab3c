import type { Command } from 'commander';
import { ConfigError } from '../../shared/core/model/config';
import { exitCodes } from './exit';
import { addExamples, configPath, outputOption, readConfig } from './options';
import { count, print, type CommandOutput, type Format } from './output';

export function addValidate(program: Command): void {
  const command = program
    .command('validate')
    .description('check peermasq.yaml: reports all errors together, with line and column')
    .argument('[file]', 'config file (default: $PEERMASQ_CONFIG, else peermasq.yaml)')
    .addOption(outputOption())
    .action((file: string | undefined, { output }: { output: Format }) => {
      const { result, isValid } = validate(configPath(file));
      print(result, output);
      process.exitCode = isValid ? exitCodes.ok : exitCodes.error;
    });
  addExamples(command, ['npx peermasq validate', 'npx peermasq validate staging.yaml -o json']);
}

/**
 * Validates a config file.
 * @throws PermanentError if the file cannot be read
 */
function validate(file: string): { result: CommandOutput; isValid: boolean } {
  try {
    const { clusters } = readConfig(file);
    const names = clusters.map(({ name }) => name);
    const text = `${file}: ${count(clusters.length, 'cluster')}, no errors: ${names.join(', ')}`;
    return { result: { document: { file, clusters: names, errors: [] }, text }, isValid: true };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const { errors } = error;
    const lines = errors.map(
      ({ line, column, path, message }) => `${file}:${line}:${column}: ${path}: ${message}`,
    );
    const text = [...lines, count(errors.length, 'error')].join('\n');
    return { result: { document: { file, errors }, text }, isValid: false };
  }
}
