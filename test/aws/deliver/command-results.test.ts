import { describe, expect, test } from '@jest/globals';
import {
  isRecorded,
  readCommandResults,
  type FinishedCommand,
} from '../../../shared/aws/deliver/command-results';
import type { StatusRecord } from '../../../shared/aws/discover/recorded-status';
import { ruleSetId } from '../../../shared/core/model/rule-set';
import type { Machine } from '../../lab/machine';
import { soon, subnetId } from '../cloud';
import { finishing, isPushed, lab, push, refOf, reporting, ruleSet } from './channel-lab';

const read = (finished: readonly FinishedCommand[]) =>
  readCommandResults({ clients: lab.clients, deadline: soon() }, finished);

/** Pushes to one node for each machine, and waits until the command has finished on all of them. */
async function runCommands(...machines: Machine[]): Promise<FinishedCommand[]> {
  const ids = machines.map((machine) => lab.aws.addNode({ subnetId, cluster: 'shop', machine }));
  const nodes = await lab.cloud.nodes.get(ids.map(refOf), soon());
  const pushed = (await push(nodes)).filter(isPushed);
  await lab.aws.waitForCommands();
  return pushed.map(({ node, id }) => ({ node, commandId: id, requestedAt: new Date() }));
}

async function runCommand(machine: Machine): Promise<FinishedCommand> {
  const [finished] = await runCommands(machine);
  if (!finished) throw new Error('no push');
  return finished;
}

const withStatus = (finished: FinishedCommand, status: StatusRecord): FinishedCommand => ({
  ...finished,
  node: { ...finished.node, status },
});
const after = ({ requestedAt }: FinishedCommand, ms: number) => new Date(requestedAt.getTime() + ms);

const samePrefix = ruleSetId(ruleSet).slice(0, 12);
const otherPrefix = 'f'.repeat(12);

describe('the result of a finished command', () => {
  test('is compared with the rule set and the route count that the command carried', async () => {
    const { responses, unreadable } = await read([await runCommand(reporting())]);
    expect(responses).toMatchObject([
      {
        proof: { result: 'reported', report: { proven: true } },
        expected: { id: ruleSetId(ruleSet), generation: ruleSet.generation },
        cluster: 'shop',
        routes: 3,
      },
    ]);
    expect(unreadable.size).toBe(0);
  });

  test.each([
    ['proven', 1, true],
    ['failed', 1, true],
    ['proven', -1, false],
    ['pushed', 1, false],
  ] as const)(
    'with the status %s, written %i ms after the command was sent, is recorded: %s',
    async (...args) => {
      const [state, ms, expected] = args;
      const finished = await runCommand(reporting());
      expect(isRecorded(withStatus(finished, { state, at: after(finished, ms) }))).toBe(expected);
    },
  );

  test.each([
    { title: 'is used when it is a proof and the same rule set has been pushed again since', count: 1 },
    { title: 'is ignored when a different rule set has been pushed since', ruleSet: otherPrefix, count: 0 },
    {
      title: 'is ignored when it is a failure and the same rule set has been pushed again since',
      isProven: false,
      count: 0,
    },
    { title: 'is used when it is a failure of the last push', isProven: false, ms: -100, count: 1 },
  ])('$title', async ({ isProven = true, ms = 60_000, ruleSet: prefix = samePrefix, count }) => {
    const finished = await runCommand(reporting({ proven: isProven }));
    const status = { state: 'pushed', at: after(finished, ms), ruleSet: prefix } as const;
    const { responses } = await read([withStatus(finished, status)]);
    expect(responses).toHaveLength(count);
  });

  test('that is unreadable makes only its own node fail', async () => {
    const finished = await runCommands(reporting(), finishing({ stdout: 'garbage' }));
    lab.aws.fail('GetCommandInvocation', 'ValidationException', 'no', Infinity);
    const { responses, unreadable } = await read(finished);
    expect(responses.map(({ proof }) => proof.result).toSorted()).toEqual(['failed', 'reported']);
    expect(unreadable.size).toBe(0);
  });

  test('that cannot be read yet is reported, and the other results are still read', async () => {
    const one = await runCommand(reporting());
    const two = await runCommand(reporting());
    lab.aws.throttle('ListCommandInvocations', 3);
    const { responses, unreadable } = await read([one]);
    expect([responses.length, [...unreadable.keys()]]).toEqual([0, [one.commandId]]);
    expect((await read([one, two])).responses).toHaveLength(2);
  });
});
