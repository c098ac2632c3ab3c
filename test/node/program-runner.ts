import { expect } from '@jest/globals';
import { join } from 'node:path';
import { parseReport, type Report } from '../../shared/core/model/report';
import type { ExecOptions, Host, ProcessResult } from '../lab/netns';
import { nodeProgramFile } from '../lab/node-program';

/** A function that runs the node program on a host. */
export type ProgramRunner = (args: readonly string[], options?: ExecOptions) => Promise<ProcessResult>;

/**
 * Returns a function that runs the node program. Its files are in the host's folder, so that each host has its own
 * state.
 */
export const programRunnerOn =
  (node: Host, backend: string, program = nodeProgramFile): ProgramRunner =>
  (args, { env, ...options } = {}) =>
    node.exec(['bash', program, ...args], {
      ...options,
      env: {
        PEERMASQ_DIR: join(node.folder, 'kept'),
        PEERMASQ_BACKEND: backend,
        PEERMASQ_PERSIST: '0',
        PEERMASQ_WAIT: '2',
        ...env,
      },
    });

/** Returns the line of JSON that the node program printed. */
export function reportLine({ stdout, stderr }: ProcessResult): string {
  const lines = stdout.split('\n').filter((line) => line !== '');
  const [line] = lines;
  if (line === undefined || lines.length > 1)
    throw new Error(`expected one line of JSON:\n${stdout}${stderr}`);
  return line;
}

/** Returns the report of `apply` or `repair`. Fails if the functions could not read every field of the report. */
export function functionsReport(result: ProcessResult): Report {
  const line = reportLine(result);
  const report = parseReport(line);
  expect(report).toEqual(JSON.parse(line));
  return report;
}
