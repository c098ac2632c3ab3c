import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { makeDocument } from '../../../infra/aws/document';
import { makeClients, type Clients } from '../../../shared/aws/client/clients';
import {
  isRecorded,
  readCommandResults,
  type FinishedCommand,
} from '../../../shared/aws/deliver/command-results';
import type { AwsNode } from '../../../shared/aws/discover/nodes';
import type { StatusRecord } from '../../../shared/aws/deliver/status';
import { parseCidr } from '../../../shared/core/model/cidr';
import { ruleSetId, type RuleSet } from '../../../shared/core/model/rule-set';
import { labAccount, labRegion } from '../../lab/aws/cloud';
import type { Machine } from '../../lab/machine';
import { makeReport } from '../../lab/node-report';
import { soon, startCloud, subnetId, vpcId } from '../cloud';

const ruleSet: RuleSet = {
  generation: 1_795_295_818_468,
  randomFully: false,
  sources: [parseCidr('100.96.0.0/11')],
  exemptions: [],
  destinations: [{ cidr: parseCidr('10.0.0.0/16'), name: 'production' }],
  probes: [],
};

let lab: Awaited<ReturnType<typeof startCloud>>;
let clients: Clients;

beforeEach(async () => {
  lab = await startCloud();
  clients = makeClients(labRegion);
  lab.aws.addNetwork({ vpcId, cidrs: ['172.20.0.0/16'], subnetIds: [subnetId] });
  lab.aws.putDocument('peermasq-apply-test', makeDocument('echo hello\n'));
});
afterEach(() => {
  clients.ssm.destroy();
  return lab.close();
});

const printing = (stdout: string): Machine => ({
  run: () => Promise.resolve({ status: 0, stdout, stderr: '' }),
});
const reporting = (isProven: boolean) =>
  printing(`${JSON.stringify(makeReport(ruleSet, { proven: isProven }))}\n`);

/** Nodes that a command was sent to, which has ended on all of them. */
async function runCommands(...machines: Machine[]): Promise<FinishedCommand[]> {
  const refs = machines.map((machine) => ({
    cloud: 'aws' as const,
    account: labAccount,
    region: labRegion,
    id: lab.aws.addNode({ subnetId, cluster: 'shop', machine }),
  }));
  const nodes: readonly AwsNode[] = await lab.cloud.nodes.get(refs, soon());
  const pushes = await lab.cloud.channel.push({ ruleSet, routes: 3 }, nodes, soon());
  await lab.aws.waitForCommands();
  return pushes.flatMap((push) =>
    push.result === 'pushed' ? { node: push.node, commandId: push.id, requestedAt: new Date() } : [],
  );
}

const withStatus = (finished: FinishedCommand, status: StatusRecord): FinishedCommand => ({
  ...finished,
  node: { ...finished.node, status },
});
const after = ({ requestedAt }: FinishedCommand, ms: number) => new Date(requestedAt.getTime() + ms);

test('a late answer is judged by what its command was made of', async () => {
  const { responses, unreadable } = await readCommandResults(
    clients,
    await runCommands(reporting(true)),
    soon(),
  );
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
  'a status %s, %i ms after the command was asked for, is its record: %s',
  async (outcome, ms, wanted) => {
    const [finished] = await runCommands(reporting(true));
    if (!finished) throw new Error('no push');
    expect(isRecorded(withStatus(finished, { outcome, at: after(finished, ms) }))).toBe(wanted);
  },
);

const same = ruleSetId(ruleSet).slice(0, 12);
const other = 'f'.repeat(12);

test.each<[string, boolean, number, string, number]>([
  ['a proof, though the same was pushed again meanwhile', true, 60_000, same, 1],
  ['a proof of what another push has replaced', true, 60_000, other, 0],
  ['a failure, when the same was pushed again meanwhile', false, 60_000, same, 0],
  ['a failure of the last push', false, -100, same, 1],
])('%s counts', async (_, isProven, ms, ruleSet, count) => {
  const [finished] = await runCommands(reporting(isProven));
  if (!finished) throw new Error('no push');
  const status = { outcome: 'pushed', at: after(finished, ms), ruleSet } as const;
  const { responses } = await readCommandResults(clients, [withStatus(finished, status)], soon());
  expect(responses).toHaveLength(count);
});

test('an answer that nobody can read is its node’s failure alone', async () => {
  const finished = await runCommands(reporting(true), printing('garbage'));
  lab.aws.fail('GetCommandInvocation', 'ValidationException', 'no', Infinity);
  const { responses, unreadable } = await readCommandResults(clients, finished, soon());
  expect(responses.map(({ proof }) => proof.result).toSorted()).toEqual(['failed', 'reported']);
  expect(unreadable.size).toBe(0);
});

test('a command that cannot be read now is told; the others are read', async () => {
  const [one] = await runCommands(reporting(true));
  const [two] = await runCommands(reporting(true));
  if (!one || !two) throw new Error('no push');
  lab.aws.throttle('ListCommandInvocations', 3);
  const { responses, unreadable } = await readCommandResults(clients, [one], soon());
  expect([responses.length, [...unreadable.keys()]]).toEqual([0, [one.commandId]]);
  expect((await readCommandResults(clients, [one, two], soon())).responses).toHaveLength(2);
});
