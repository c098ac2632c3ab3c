import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { makeDocument } from '../../infra/aws/document';
import { makeClients, type Clients } from '../../shared/aws/clients';
import { isRecorded, readLate, type Ended } from '../../shared/aws/late';
import type { AwsNode } from '../../shared/aws/nodes';
import type { Status } from '../../shared/aws/record';
import { parseCidr } from '../../shared/core/cidr';
import { ruleSetId, type RuleSet } from '../../shared/core/rule-set';
import { labAccount, labRegion } from '../lab/aws/aws';
import type { Machine } from '../lab/machine';
import { reportOf } from '../lab/report';
import { soon, startCloud, subnetId, vpcId } from './cloud';

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
const saying = (isProven: boolean) =>
  printing(`${JSON.stringify(reportOf(ruleSet, { proven: isProven }))}\n`);

/** Nodes that a command was sent to, which has ended on all of them. */
async function end(...machines: Machine[]): Promise<Ended[]> {
  const refs = machines.map((machine) => ({
    cloud: 'aws' as const,
    account: labAccount,
    region: labRegion,
    id: lab.aws.addNode({ subnetId, cluster: 'shop', machine }),
  }));
  const nodes: readonly AwsNode[] = await lab.cloud.nodes.get(refs, soon());
  const pushes = await lab.cloud.channel.push({ ruleSet, routes: 3 }, nodes, soon());
  await lab.aws.settled();
  return pushes.flatMap((push) =>
    push.result === 'pushed' ? { node: push.node, commandId: push.id, requestedAt: new Date() } : [],
  );
}

const withStatus = (ended: Ended, status: Status): Ended => ({ ...ended, node: { ...ended.node, status } });
const after = ({ requestedAt }: Ended, ms: number) => new Date(requestedAt.getTime() + ms);

test('a late answer is judged by what its command was made of', async () => {
  const { returned, unread } = await readLate(clients, await end(saying(true)), soon());
  expect(returned).toMatchObject([
    {
      proof: { result: 'reported', report: { proven: true } },
      meant: { id: ruleSetId(ruleSet), generation: ruleSet.generation },
      cluster: 'shop',
      routes: 3,
    },
  ]);
  expect(unread.size).toBe(0);
});

test.each([
  ['proven', 1, true],
  ['failed', 1, true],
  ['proven', -1, false],
  ['pushed', 1, false],
] as const)('a status %s, %i ms after the command was asked for, is its record: %s', async (word, ms, is) => {
  const [ended] = await end(saying(true));
  if (!ended) throw new Error('no push');
  expect(isRecorded(withStatus(ended, { word, at: after(ended, ms) }))).toBe(is);
});

const same = ruleSetId(ruleSet).slice(0, 12);
const other = 'f'.repeat(12);

test.each<[string, boolean, number, string, number]>([
  ['a proof, though the same was pushed again meanwhile', true, 60_000, same, 1],
  ['a proof of what another push has replaced', true, 60_000, other, 0],
  ['a failure, when the same was pushed again meanwhile', false, 60_000, same, 0],
  ['a failure of the last push', false, -100, same, 1],
])('%s counts', async (_, isProven, ms, pushed, count) => {
  const [ended] = await end(saying(isProven));
  if (!ended) throw new Error('no push');
  const status = { word: 'pushed', at: after(ended, ms), pushed } as const;
  const { returned } = await readLate(clients, [withStatus(ended, status)], soon());
  expect(returned).toHaveLength(count);
});

test('an answer that nobody can read is its node’s failure alone', async () => {
  const ended = await end(saying(true), printing('garbage'));
  lab.aws.fail('GetCommandInvocation', 'ValidationException', 'no', Infinity);
  const { returned, unread } = await readLate(clients, ended, soon());
  expect(returned.map(({ proof }) => proof.result).toSorted()).toEqual(['failed', 'reported']);
  expect(unread.size).toBe(0);
});

test('a command that cannot be read now is told; the others are read', async () => {
  const [one] = await end(saying(true));
  const [two] = await end(saying(true));
  if (!one || !two) throw new Error('no push');
  lab.aws.throttle('ListCommandInvocations', 3);
  const { returned, unread } = await readLate(clients, [one], soon());
  expect([returned.length, [...unread.keys()]]).toEqual([0, [one.commandId]]);
  expect((await readLate(clients, [one, two], soon())).returned).toHaveLength(2);
});
