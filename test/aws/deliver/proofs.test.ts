import { describe, expect, test } from '@jest/globals';
import { PermanentError, RetryableError } from '../../../shared/core/model/errors';
import type { ProofResult } from '../../../shared/core/cloud';
import type { Report } from '../../../shared/core/model/report';
import type { LabInvocation } from '../../lab/aws/state';
import type { CommandResult, Machine } from '../../lab/machine';
import { soon } from '../cloud';
import { addNodes, finishing, isPushed, lab, neverFinishing, push, report, reporting } from './channel-lab';

async function pushAndProve(machine: Machine, deadline = soon()): Promise<ProofResult | undefined> {
  const pushed = (await push(await addNodes(1, machine))).filter(isPushed);
  return (await lab.cloud.channel.collectProofs(pushed, deadline))[0];
}

describe('the report of a node', () => {
  test.each<[string, Partial<Report>, number]>([
    ['applied', { result: 'applied' }, 0],
    ['unchanged', { result: 'unchanged' }, 0],
    ['refused', { result: 'refused', proven: false, reason: 'line 3' }, 2],
    ['failed', { result: 'failed', proven: false, id: null, generation: null }, 3],
    ['busy', { result: 'busy', proven: false }, 4],
  ])('is returned unchanged when its result is %s', async (_, changes, status) => {
    expect(await pushAndProve(reporting(changes, status))).toMatchObject({
      result: 'reported',
      report: report(changes),
    });
  });

  test('is read from the list of invocations, without a separate call for each of 120 nodes', async () => {
    const pushed = (await push(await addNodes(120))).filter(isPushed);
    await lab.aws.waitForCommands();
    const proofs = await lab.cloud.channel.collectProofs(pushed, soon());
    expect(proofs.every(({ result }) => result === 'reported')).toBe(true);
    expect(['ListCommandInvocations', 'GetCommandInvocation'].map((action) => lab.aws.count(action))).toEqual(
      [3, 0],
    );
  });

  test('is read from every page of the list', async () => {
    const pushed = (await push(await addNodes(10))).filter(isPushed);
    lab.aws.state.pageSize = 3;
    const proofs = await lab.cloud.channel.collectProofs(pushed, soon());
    expect(proofs.filter(({ result }) => result === 'reported')).toHaveLength(10);
  });

  test("that is too long for the list is read from the command's output on its node", async () => {
    const warnings = Array.from({ length: 10 }, (_, i) => `${i} `.repeat(300));
    lab.aws.fail('GetCommandInvocation', 'InvocationDoesNotExist', '');
    expect(await pushAndProve(reporting({ warnings }))).toMatchObject({
      result: 'reported',
      report: { warnings },
    });
  });

  test('is awaited while SSM does not list the command yet', async () => {
    lab.aws.state.invocationVisibilityDelayMs = 300;
    lab.aws.fail('ListCommandInvocations', 'InvalidCommandId', '');
    expect(await pushAndProve(reporting())).toMatchObject({ result: 'reported' });
  });

  test('is awaited while SSM throttles calls', async () => {
    lab.aws.throttle('ListCommandInvocations', 2);
    expect(await pushAndProve(reporting())).toMatchObject({ result: 'reported' });
  });

  test.each<[string, () => unknown]>([
    ['does not contain the command', () => lab.aws.state.commands.splice(0)],
    [
      'is throttled',
      () => {
        lab.aws.throttle('ListCommands', Number.POSITIVE_INFINITY);
      },
    ],
  ])('is read at the deadline even though the list of commands %s', async (_, prepare) => {
    const pushed = (await push(await addNodes(2))).filter(isPushed);
    prepare();
    const proofs = await lab.cloud.channel.collectProofs(pushed, Date.now() + 3_500);
    expect(proofs.map(({ result }) => result)).toEqual(['reported', 'reported']);
    expect(lab.aws.count('ListCommandInvocations')).toBe(1);
  });

  test('is retried later when it does not arrive in time', async () => {
    expect(await pushAndProve(neverFinishing, Date.now() + 2_500)).toMatchObject({
      result: 'no-report',
      reason: expect.stringMatching(/^no report from command [0-9a-f-]{36} yet$/),
      retryAfterSeconds: 10,
    });
  });

  test('is not read after the deadline', async () => {
    expect(await pushAndProve(reporting(), Date.now())).toMatchObject({ result: 'no-report' });
    expect(lab.aws.count('ListCommandInvocations')).toBe(0);
  });

  test('cannot be read without the permission, and the error names the permission', async () => {
    lab.aws.deny('ssm:ListCommandInvocations', '*');
    await expect(pushAndProve(reporting())).rejects.toThrow('ssm:ListCommandInvocations on *');
  });
});

describe('a node that sends no report', () => {
  const unreadable = (message: RegExp) => ({ code: 'unreadable-report', message });
  const noReport = (message: RegExp) => ({ code: 'no-report', message });

  test.each<[string, Partial<CommandResult>, { readonly code: string; readonly message: RegExp }]>([
    ['prints something else', { stdout: 'hello\n' }, unreadable(/"hello"/)],
    ['prints too much', { stdout: 'x'.repeat(30_000) }, unreadable(/"x{200}"/)],
    [
      'has no bash',
      { status: 127, stderr: 'sh: 9: bash: not found\n' },
      noReport(/exited with 127 .*bash: not found/),
    ],
    ['prints nothing', { status: 1 }, noReport(/exited with 1 .*no output/)],
  ])('fails permanently when it %s', async (_, result, { code, message }) => {
    const proof = await pushAndProve(finishing(result));
    expect(proof).toMatchObject({
      result: 'failed',
      error: { code, message: expect.stringMatching(message) },
    });
    expect(proof?.result === 'failed' && proof.error).toBeInstanceOf(PermanentError);
  });

  test.each<[LabInvocation['status'], string, 'retryable' | 'permanent']>([
    ['TimedOut', 'DeliveryTimedOut', 'retryable'],
    ['TimedOut', 'Execution Timed Out', 'retryable'],
    ['Failed', 'Undeliverable', 'retryable'],
    ['Cancelled', 'Terminated', 'retryable'],
    ['Failed', 'RateExceeded', 'retryable'],
    ['Cancelled', 'Cancelled', 'permanent'],
    ['Failed', 'InvalidPlatform', 'permanent'],
    ['Failed', 'AccessDenied', 'permanent'],
  ])('whose command is %s (%s) is reported with a %s error', async (status, statusDetails, kind) => {
    const pushed = (await push(await addNodes(1, finishing({})))).filter(isPushed);
    await lab.aws.waitForCommands();
    for (const invocation of lab.aws.state.invocations) Object.assign(invocation, { status, statusDetails });
    const [proof] = await lab.cloud.channel.collectProofs(pushed, soon());
    expect(proof).toMatchObject({ result: 'failed', error: { code: 'command-not-run' } });
    const isRetryable = proof?.result === 'failed' && proof.error instanceof RetryableError;
    expect(isRetryable).toBe(kind === 'retryable');
  });
});
