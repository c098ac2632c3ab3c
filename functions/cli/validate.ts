import type { Command } from 'commander';
import { ConfigError } from '../../shared/core/config';
import { configFile, readConfig } from './config';
import { exitCodes } from './faults';
import { count, examples, outputOption, print, type Answer, type Format } from './output';

/** `peermasq validate`: every fault of the config at once. */
export function addValidate(program: Command): void {
  const command = program
    .command('validate')
    .description('say what is wrong with peermasq.yaml: every fault at once, with line and column')
    .argument('[file]', 'the config (default: $PEERMASQ_CONFIG, else peermasq.yaml)')
    .addOption(outputOption())
    .action((file: string | undefined, { output }: { output: Format }) => {
      const { answer, isValid } = validate(configFile(file));
      print(answer, output);
      process.exitCode = isValid ? exitCodes.fine : exitCodes.fault;
    });
  examples(command, ['npx peermasq validate', 'npx peermasq validate staging.yaml -o json']);
}

/** @throws PermanentError where there is no such file */
function validate(file: string): { answer: Answer; isValid: boolean } {
  try {
    const { clusters } = readConfig(file);
    const names = clusters.map(({ name }) => name);
    const text = `${file}: ${count(clusters.length, 'cluster')}, no faults: ${names.join(', ')}`;
    return { answer: { document: { file, clusters: names, faults: [] }, text }, isValid: true };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const { faults } = error;
    const text = faults
      .map(({ line, column, path, message }) => `${file}:${line}:${column}: ${path}: ${message}`)
      .join('\n');
    return {
      answer: { document: { file, faults }, text: `${text}\n${count(faults.length, 'fault')}` },
      isValid: false,
    };
  }
}
