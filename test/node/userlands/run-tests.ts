import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { type Entry, runInUserland } from './enter-userland';
import { programs, type Row } from './table';

export const resultsFolder = '.cache/userlands/results';

/** What jest writes with `--json`, as far as it is used here. */
const jestResults = z.object({
  numPassedTests: z.number(),
  numFailedTests: z.number(),
  numFailedTestSuites: z.number(),
  numPendingTests: z.number(),
  testResults: z.array(
    z.object({
      name: z.string(),
      message: z.string(),
      assertionResults: z.array(z.object({ fullName: z.string(), status: z.string() })),
    }),
  ),
});

/** The results of one userland, and the names of the tests that failed. */
export interface UserlandResults {
  readonly row: Row;
  readonly failures: readonly string[];
  /** The file with the output of jest. */
  readonly log: string;
}

// They test the tests: they change the node program and expect that an environment fails.
const ignored = ['test/node/mutants.test.ts'];

/** Runs the tests of the node program with the programs of a userland. */
export async function runTests(entry: Entry, tests: readonly string[]): Promise<UserlandResults> {
  const name = entry.userland.name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  const log = join(resultsFolder, `${name}.log`);
  const json = join(resultsFolder, `${name}.json`);
  mkdirSync(resultsFolder, { recursive: true });
  rmSync(json, { force: true });
  const versions = await readVersions(entry);
  const jest = ['jest', ...tests, '--testPathIgnorePatterns', ...ignored, '--testTimeout=60000'];
  const { output } = await runInUserland(entry, [
    ...['node', 'test/lab/enter.mjs', ...jest],
    ...['--maxWorkers=2', '--maxConcurrency=2', '--json', `--outputFile=${json}`],
  ]);
  writeFileSync(log, output);
  const results = jestResults.parse(readJson(json, log));
  const failures = results.testResults.flatMap(({ name: file, message, assertionResults }) => {
    const failed = assertionResults.filter(({ status }) => status === 'failed');
    if (failed.length > 0) return failed.map(({ fullName }) => fullName);
    return assertionResults.length === 0 ? [`${file} could not be run: ${message.trim()}`] : [];
  });
  const row = {
    userland: entry.userland.name,
    versions,
    passed: results.numPassedTests,
    failed: failures.length,
    notApplicable: results.numPendingTests,
    lastRun: new Date().toISOString().slice(0, 10),
  };
  return { row, failures, log };
}

function readJson(file: string, log: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    throw new Error(`the tests have not run; see ${log}`);
  }
}

/** Returns the versions of `programs`, or `-` for a program that prints none. */
async function readVersions(entry: Entry): Promise<string[]> {
  const script = Object.values(programs)
    .map((command) => `{ ${command} || echo none; } 2>&1 | sed -n 1p`)
    .join('\n');
  const { code, output } = await runInUserland(entry, ['sh', '-c', `node --version && { ${script}\n}`]);
  // Node runs there if it needs no libraries other than those that every Debian has.
  if (code !== 0 || !output.startsWith('v'))
    throw new Error(`${process.execPath} does not run in ${entry.userland.name}: ${output}`);
  const [, ...lines] = output.trimEnd().split('\n');
  return lines.map((line) => /\d+(\.\d+)+/.exec(line)?.[0] ?? '-');
}
