import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { makeDocument, makeSnapshotDocument } from '../../../infra/aws/document';
import { packedPattern } from '../../../shared/aws/names';
import { parseCidr } from '../../../shared/core/model/cidr';
import { parseReport } from '../../../shared/core/model/report';
import {
  latestFormat,
  packRuleSet,
  ruleSetFormats,
  ruleSetId,
  type RuleSet,
} from '../../../shared/core/model/rule-set';
import { runDocument } from '../../lab/aws/ssm-agent';
import { describeKernel } from '../../lab/kernel';
import { openLab, type Lab } from '../../lab/netns';
import { nodeMachineOn } from '../../lab/node-machine';
import type { LabAgent } from '../../lab/aws/state';
import type { CommandResult, Machine } from '../../lab/machine';
import { nodeProgram } from '../../lab/node-program';

const ruleSet: RuleSet = {
  generation: 1,
  randomFully: false,
  sources: [],
  exemptions: [],
  destinations: [],
  probes: [],
};

/**
 * A substitute for the node program. It prints its input and exits with TEST_EXIT. It contains characters that
 * incorrect shell quoting would change: quotes, $, \ and braces.
 */
const program = `#!/usr/bin/env bash
# "quotes" 'single' $HOME \`date\` \\n {{ ruleset }} END
read -r line
printf '{"command":"%s","line":"%s","keys":"%s"}\\n' "$1" "$line" "\${TEST_KEYS-}"
exit "\${TEST_EXIT:-0}"
`;

let folder: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'peermasq-')), 'kept');
});
afterEach(() => {
  rmSync(join(folder, '..'), { recursive: true });
});

/** Runs commands directly on this machine. This is safe, because the program above changes only files in `folder`. */
const host: Machine = {
  run: ([command = '', ...args], { stdin = '', env = {} } = {}) =>
    new Promise<CommandResult>((resolve) => {
      const child = execFile(
        command,
        args,
        { env: { PATH: process.env['PATH'], PEERMASQ_DIR: folder, ...env } },
        (error, stdout, stderr) => {
          resolve({ status: error ? Number(error.code) : 0, stdout, stderr });
        },
      );
      child.stdin?.end(stdin);
    }),
};

const agent = (version: string, machine = host): LabAgent => ({
  registersAt: 0,
  pingStatus: 'Online',
  version,
  platformType: 'Linux',
  machine,
  isCommandDenied: false,
});

const run = (version: string, ruleset: string, env = {}, text = program) =>
  runDocument(agent(version), makeDocument(text), { ruleset }, env);

describe.each([
  ['an agent that sets variables', '3.3.2746.0'],
  ['an agent that substitutes parameters', '3.3.2745.0'],
  ['an old agent', '2.3.1319.0'],
])('the apply document, run by %s,', (_, version) => {
  const packed = packRuleSet(ruleSet);

  test('prints only what the program prints', async () => {
    const { stdout, stderr, status } = await run(version, packed);
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
    expect(stdout).toBe(`{"command":"apply","line":"${packed}","keys":""}\n`);
  });

  test.each([2, 3, 4])('exits with the exit code of the program: %i', async (code) => {
    const { status, stdout } = await run(version, packed, { TEST_EXIT: String(code) });
    expect(status).toBe(code);
    expect(stdout).toContain(packed);
  });

  test('replaces the program on disk with the complete new program, and writes no other file', async () => {
    await run(version, packed, {}, program.replace('TEST_KEYS', 'OLD_KEYS'));
    await run(version, packed);
    expect(readFileSync(join(folder, 'peermasq.sh'), 'utf8')).toBe(program);
    expect(readdirSync(folder)).toEqual(['peermasq.sh']);
  });

  test('fails with the error message of the shell if the program cannot be written', async () => {
    const { status, stdout, stderr } = await run(version, packed, { PEERMASQ_DIR: '/dev/null/kept' });
    expect(status).not.toBe(0);
    expect(stdout).toBe('');
    expect(stderr).toContain('/dev/null');
  });
});

describe.each(['3.3.2746.0', '3.3.2745.0'])('the snapshot document, run by agent %s,', (version) => {
  const printArguments = `#!/usr/bin/env bash\nprintf '%s|' "$@"\nexit "\${TEST_EXIT:-0}"\n`;
  const runSnapshot = (env = {}) =>
    runDocument(agent(version), makeSnapshotDocument(printArguments), { part: '12' }, env);

  test('runs the program for one part of the snapshot, and leaves no files behind', async () => {
    expect(await runSnapshot()).toEqual({ status: 0, stdout: 'snapshot|--part|12|', stderr: '' });
    expect(existsSync(folder)).toBe(false);
  });

  test("exits with the program's exit code", async () => {
    expect(await runSnapshot({ TEST_EXIT: '3' })).toMatchObject({ status: 3 });
  });
});

describe('the parameter of the apply document', () => {
  const pattern = new RegExp(packedPattern);

  test('accepts every rule set', () => {
    expect(packRuleSet(ruleSet)).toMatch(pattern);
  });

  test.each([
    ['a command', "H4sIAAAA'; reboot; '"],
    ['a substitution', 'H4sI$(reboot)'],
    ['a second line', 'H4sIAAAA\nreboot'],
    ['an uncompressed rule set', 'peermasq/1'],
    ['nothing', ''],
  ])('rejects %s', (_, text) => {
    expect(text).not.toMatch(pattern);
  });

  test("has a pattern that the agent's regular expression engine (RE2) supports", () => {
    // RE2 does not support lookaround, back-references, or repetition counts above 1,000.
    expect(packedPattern).not.toMatch(/\(\?[=!<]|\\[1-9]|\{\d{4,}/);
  });
});

test('the build fails if a document is too large for SSM', () => {
  const noise = Array.from({ length: 40_000 }, (_, i) => String((i * 7_919) % 104_729)).join('');
  expect(() => makeDocument(noise)).toThrow(/has \d+ bytes; SSM accepts fewer than 65536/);
});

test('the node program supports every rule set format that the functions send', () => {
  const [, text = ''] = /^readonly max_format=(\d+)$/m.exec(nodeProgram) ?? [];
  expect(Number(text)).toBe(latestFormat);
  expect(ruleSetFormats.at(-1)).toBe(latestFormat);
});

describeKernel('the apply document with the real node program', undefined, () => {
  let lab: Lab;
  beforeAll(() => {
    lab = openLab();
  });
  afterAll(() => lab.close());

  test.each(['3.3.3572.0', '3.1.0.0'])(
    'applies a rule set in the latest format when agent %s runs it',
    async (version) => {
      const node = await lab.machine(`agent-${version.replaceAll('.', '-')}`);
      const expectedRuleSet = {
        ...ruleSet,
        isSteered: true,
        sources: [parseCidr('172.20.0.0/16')],
        destinations: [{ cidr: parseCidr('10.0.0.0/16'), name: 'production' }],
      };
      const document = makeDocument(nodeProgram);
      const ruleset = packRuleSet(expectedRuleSet);
      const { status, stdout } = await runDocument(
        agent(version, nodeMachineOn(node)),
        document,
        { ruleset },
        {},
      );
      expect(status).toBe(0);
      expect(parseReport(stdout)).toMatchObject({
        result: 'applied',
        format: latestFormat,
        id: ruleSetId(expectedRuleSet),
      });
      expect(await node.run(['iptables', '-t', 'nat', '-S', 'PEERMASQ'])).toContain('-d 10.0.0.0/16');
    },
  );
});
