import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import * as z from 'zod';

const source = `
describe('block', () => {
  beforeAll(() => { throw new Error('no network'); });
  beforeAll(() => { throw new Error('no machine'); });
  test.skip('is skipped', () => {});
  test('first', () => {});
  test('second', () => {});
  describe('inner', () => { test('third', () => {}); });
});
test('outside', () => {});
`;

const resultSchema = z.object({
  testResults: z.tuple([
    z.object({
      assertionResults: z.array(
        z.object({ title: z.string(), status: z.string(), failureMessages: z.array(z.string()) }),
      ),
    }),
  ]),
});

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'peermasq-environment-'));
  await writeFile(join(folder, 'block.test.js'), source);
});

afterAll(() => rm(folder, { recursive: true }));

async function runJest(...args: readonly string[]) {
  const config = {
    rootDir: folder,
    testEnvironment: join(process.cwd(), 'test/environment.js'),
    transform: {},
    watchman: false,
  };
  const jest = join(process.cwd(), 'node_modules/jest/bin/jest.js');
  const stdout = await new Promise<string>((resolve) => {
    // Jest exits with status 1 because a test fails.
    const command = [jest, '--json', '--config', JSON.stringify(config), ...args];
    execFile(process.execPath, command, (_error, output) => {
      resolve(output);
    });
  });
  const [{ assertionResults }] = resultSchema.parse(JSON.parse(stdout)).testResults;
  return assertionResults;
}

const statusesOf = (results: Awaited<ReturnType<typeof runJest>>) =>
  Object.fromEntries(results.map(({ title, status }) => [title, status]));

test('if beforeAll fails, the first test in its block fails and the remaining tests are skipped', async () => {
  const results = await runJest();
  expect(statusesOf(results)).toEqual({
    'is skipped': 'pending',
    first: 'failed',
    second: 'pending',
    third: 'pending',
    outside: 'passed',
  });
  const messages = results.flatMap(({ failureMessages }) => failureMessages);
  expect(messages).toEqual([
    expect.stringMatching(/^beforeAll failed; 2 other tests skipped\.\nError: no network\n/u),
    expect.stringMatching(/no machine/u),
  ]);
});

test('if beforeAll fails, a test that was selected by name fails', async () => {
  const results = await runJest('--testNamePattern', 'inner third');
  expect(statusesOf(results)).toMatchObject({ first: 'pending', second: 'pending', third: 'failed' });
});
