import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { makeDocument } from '../../../infra/aws/document';
import { packedLimit } from '../../../shared/aws/names';
import { parseCidr } from '../../../shared/core/model/cidr';
import { PermanentError, RetryableError } from '../../../shared/core/model/errors';
import type { AwsNode } from '../../../shared/aws/discover/nodes';
import type { PushRecord, ProofResult, PushResult, PushedNode } from '../../../shared/core/cloud';
import type { Report } from '../../../shared/core/model/report';
import { packRuleSet, ruleSetId, type RuleSet } from '../../../shared/core/model/rule-set';
import { labAccount, labRegion } from '../../lab/aws/cloud';
import type { LabInvocation } from '../../lab/aws/state';
import type { CommandResult, Machine } from '../../lab/machine';
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

const report = (changes: Partial<Report> = {}): Report => makeReport(ruleSet, { rules: 2, ...changes });

/** A node whose program ends like this. */
const ending = (finished: Partial<CommandResult>): Machine => ({
  run: () => Promise.resolve({ status: 0, stdout: '', stderr: '', ...finished }),
});
const reporting = (changes?: Partial<Report>, status = 0): Machine =>
  ending({ status, stdout: `${JSON.stringify(report(changes))}\n`, stderr: 'peermasq: working\n' });
/** A node whose program ends when the test ends. */
let endAll: () => void = () => undefined;
const neverFinishing: Machine = {
  run: () =>
    new Promise((resolve) => {
      endAll = () => {
        resolve({ status: 0, stdout: '', stderr: '' });
      };
    }),
};

let lab: Awaited<ReturnType<typeof startCloud>>;

beforeEach(async () => {
  lab = await startCloud();
  lab.aws.addNetwork({ vpcId, cidrs: ['172.20.0.0/16'], subnetIds: [subnetId] });
  lab.aws.putDocument('peermasq-apply-test', makeDocument('echo hello\n'));
});
afterEach(() => {
  endAll();
  return lab.close();
});

async function addNodes(count: number, machine: Machine = reporting()): Promise<AwsNode[]> {
  const refs = Array.from(
    { length: count },
    () =>
      ({
        cloud: 'aws',
        account: labAccount,
        region: labRegion,
        id: lab.aws.addNode({ subnetId, machine }),
      }) as const,
  );
  return lab.cloud.nodes.get(refs, soon());
}

const push = (nodes: readonly AwsNode[], what = ruleSet) =>
  lab.cloud.channel.push({ ruleSet: what, routes: 3 }, nodes, soon());
const results = (all: readonly (PushResult<AwsNode> | ProofResult<AwsNode>)[]) =>
  Object.fromEntries(all.map((one) => [one.node.ref.id, one.result]));
const isPushed = (one: PushResult<AwsNode>): one is PushedNode<AwsNode> => one.result === 'pushed';

async function pushAndProve(machine: Machine, deadline = soon()): Promise<ProofResult<AwsNode> | undefined> {
  const pushed = (await push(await addNodes(1, machine))).filter(isPushed);
  return (await lab.cloud.channel.collectProofs(pushed, deadline))[0];
}

describe('push', () => {
  test('reaches 120 nodes with three commands that carry the rule set', async () => {
    const nodes = await addNodes(120);
    const pushes = await push(nodes);
    expect(new Set(pushes.map(({ node }) => node))).toEqual(new Set(nodes));
    expect(pushes.every(isPushed)).toBe(true);
    expect(['DescribeInstanceInformation', 'SendCommand'].map((action) => lab.aws.count(action))).toEqual([
      3, 3,
    ]);
    expect(lab.aws.calls.find(({ action }) => action === 'SendCommand')?.input).toMatchObject({
      DocumentName: 'peermasq-apply-test',
      Parameters: { ruleset: [packRuleSet(ruleSet)] },
      MaxErrors: '100%',
    });
  });

  test('nodes whose agent is unknown or away are not ready; the others do not wait for them', async () => {
    const nodes = await addNodes(3);
    const [unknown, away, online] = nodes.map(({ ref }) => ref.id) as [string, string, string];
    lab.aws.state.agents.delete(unknown);
    lab.aws.setReady(away, false);
    const pushes = await push(nodes);
    expect(results(pushes)).toEqual({ [unknown]: 'not-ready', [away]: 'not-ready', [online]: 'pushed' });
    expect(pushes.find(({ result }) => result === 'not-ready')).toMatchObject({
      reason: 'its SSM agent is not online',
      retryAfterSeconds: 5,
    });
  });

  test('a node whose agent comes online is served by the next push', async () => {
    const nodes = await addNodes(1);
    const id = nodes[0]?.ref.id ?? '';
    lab.aws.setReady(id, false);
    expect(results(await push(nodes))).toEqual({ [id]: 'not-ready' });
    lab.aws.setReady(id, true);
    expect(results(await push(nodes))).toEqual({ [id]: 'pushed' });
  });

  test('no node is ready: no command', async () => {
    const nodes = await addNodes(1);
    lab.aws.state.agents.clear();
    await push(nodes);
    expect(lab.aws.count('SendCommand')).toBe(0);
  });

  test('a node that SSM refuses by name does not keep the command from the others', async () => {
    const nodes = await addNodes(3);
    const [gone, ...rest] = nodes.map(({ ref }) => ref.id) as [string, string, string];
    const message = `Instances [[${gone}]] not in a valid state for account ${labAccount}`;
    lab.aws.fail('SendCommand', 'InvalidInstanceId', message);
    expect(results(await push(nodes))).toEqual({
      [gone]: 'not-ready',
      ...Object.fromEntries(rest.map((id) => [id, 'pushed'])),
    });
  });

  test('a refusal that names no node concerns them all', async () => {
    lab.aws.fail('SendCommand', 'InvalidInstanceId', '');
    expect((await push(await addNodes(2))).map(({ result }) => result)).toEqual(['not-ready', 'not-ready']);
  });

  test('a node on which commands are not allowed fails, and says which permission it lacks', async () => {
    const nodes = await addNodes(2);
    const [forbidden, other] = nodes.map(({ ref }) => ref.id) as [string, string];
    const agent = lab.aws.state.agents.get(forbidden);
    if (agent) agent.isCommandDenied = true;
    const pushes = await push(nodes);
    expect(results(pushes)).toEqual({ [forbidden]: 'failed', [other]: 'pushed' });
    const failed = pushes.find(({ result }) => result === 'failed');
    expect(failed).toMatchObject({ error: expect.any(PermanentError) });
    expect(failed).toMatchObject({
      error: {
        message: expect.stringContaining(`ssm:SendCommand on arn:aws:ec2:us-east-1:${labAccount}:instance/`),
      },
    });
  });

  test('a document that may not be sent concerns everybody', async () => {
    const document = `arn:aws:ssm:us-east-1:${labAccount}:document/peermasq-apply-test`;
    lab.aws.deny('ssm:SendCommand', document);
    const error = await push(await addNodes(1)).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(PermanentError);
    expect(error).toMatchObject({ message: expect.stringContaining(`ssm:SendCommand on ${document}`) });
  });

  test('a document that is not there fails for good', async () => {
    lab.aws.state.documents.clear();
    const [pushed] = await push(await addNodes(1));
    expect(pushed).toMatchObject({ result: 'failed', error: { code: 'InvalidDocument' } });
  });

  test('a call that stays throttled fails for now', async () => {
    lab.aws.throttle('SendCommand', 9);
    const [pushed] = await push(await addNodes(1));
    expect(pushed).toMatchObject({
      result: 'failed',
      error: { code: 'throttled', cause: { name: 'ThrottlingException' } },
    });
    expect(pushed?.result === 'failed' && pushed.error).toBeInstanceOf(RetryableError);
  });

  test('a rule set that no command carries fails before any call', async () => {
    const octet = (i: number, shift: number) => ((i * 2_654_435_761) >>> shift) & 255;
    const destinations = Array.from({ length: 30_000 }, (_, i) => ({
      cidr: parseCidr(`${octet(i, 0)}.${octet(i, 8)}.${octet(i, 16)}.${octet(i, 24)}/32`),
      name: 'x',
    }));
    const nodes = await addNodes(1);
    lab.aws.calls.length = 0;
    const large = { ...ruleSet, destinations };
    expect(packRuleSet(large).length).toBeGreaterThan(packedLimit);
    expect(await push(nodes, large)).toMatchObject([
      { result: 'failed', error: { code: 'rule-set-too-large' } },
    ]);
    expect(lab.aws.calls).toEqual([]);
  });
});

describe('proofs', () => {
  test.each<[string, Partial<Report>, number]>([
    ['applied', { result: 'applied' }, 0],
    ['unchanged', { result: 'unchanged' }, 0],
    ['refused', { result: 'refused', proven: false, reason: 'line 3' }, 2],
    ['failed', { result: 'failed', proven: false, id: null, generation: null }, 3],
    ['busy', { result: 'busy', proven: false }, 4],
  ])('the node says %s', async (_, changes, status) => {
    expect(await pushAndProve(reporting(changes, status))).toMatchObject({
      result: 'reported',
      report: report(changes),
    });
  });

  test('a report is found in the listing, so 120 nodes take no call each', async () => {
    const pushed = (await push(await addNodes(120))).filter(isPushed);
    await lab.aws.waitForCommands();
    const proofs = await lab.cloud.channel.collectProofs(pushed, soon());
    expect(proofs.every(({ result }) => result === 'reported')).toBe(true);
    expect(['ListCommandInvocations', 'GetCommandInvocation'].map((action) => lab.aws.count(action))).toEqual(
      [3, 0],
    );
  });

  test('page by page', async () => {
    const pushed = (await push(await addNodes(10))).filter(isPushed);
    lab.aws.state.pageSize = 3;
    const proofs = await lab.cloud.channel.collectProofs(pushed, soon());
    expect(proofs.filter(({ result }) => result === 'reported')).toHaveLength(10);
  });

  test('a report too long for the listing is fetched', async () => {
    const warnings = Array.from({ length: 10 }, (_, i) => `${i} `.repeat(300));
    lab.aws.fail('GetCommandInvocation', 'InvocationDoesNotExist', '');
    expect(await pushAndProve(reporting({ warnings }))).toMatchObject({
      result: 'reported',
      report: { warnings },
    });
  });

  test('a command that SSM does not show yet is waited for', async () => {
    lab.aws.state.invocationVisibilityDelayMs = 300;
    lab.aws.fail('ListCommandInvocations', 'InvalidCommandId', '');
    expect(await pushAndProve(reporting())).toMatchObject({ result: 'reported' });
  });

  test('throttling is waited out', async () => {
    lab.aws.throttle('ListCommandInvocations', 2);
    expect(await pushAndProve(reporting())).toMatchObject({ result: 'reported' });
  });

  test.each<[string, () => unknown]>([
    ['never shows the command', () => lab.aws.state.commands.splice(0)],
    [
      'is throttled for ever',
      () => {
        lab.aws.throttle('ListCommands', Number.POSITIVE_INFINITY);
      },
    ],
  ])('where the list of commands %s, the last look reads all the same', async (_, prepare) => {
    const pushed = (await push(await addNodes(2))).filter(isPushed);
    prepare();
    const proofs = await lab.cloud.channel.collectProofs(pushed, Date.now() + 3_500);
    expect(proofs.map(({ result }) => result)).toEqual(['reported', 'reported']);
    expect(lab.aws.count('ListCommandInvocations')).toBe(1);
  });

  test('a node that says nothing in time is silent', async () => {
    expect(await pushAndProve(neverFinishing, Date.now() + 2_500)).toMatchObject({
      result: 'no-report',
      reason: expect.stringMatching(/^it has not answered command [0-9a-f-]{36} yet$/),
      retryAfterSeconds: 10,
    });
  });

  test('no time at all: nobody is asked', async () => {
    expect(await pushAndProve(reporting(), Date.now())).toMatchObject({ result: 'no-report' });
    expect(lab.aws.count('ListCommandInvocations')).toBe(0);
  });

  test.each<[string, Partial<CommandResult>, string, RegExp]>([
    ['prints something else', { stdout: 'hello\n' }, 'unreadable-report', /"hello"/],
    ['prints too much', { stdout: 'x'.repeat(30_000) }, 'unreadable-report', /"x{200}"/],
    ['has no bash', { status: 127, stderr: 'sh: 9: bash: not found\n' }, 'no-report', /127.*bash: not found/],
    ['prints nothing', { status: 1 }, 'no-report', /ended with 1 .*printed nothing/],
  ])('a node that %s fails for good', async (_, finished, code, message) => {
    const proof = await pushAndProve(ending(finished));
    expect(proof).toMatchObject({
      result: 'failed',
      error: { code, message: expect.stringMatching(message) },
    });
    expect(proof?.result === 'failed' && proof.error).toBeInstanceOf(PermanentError);
  });

  test.each<[LabInvocation['status'], string, boolean]>([
    ['TimedOut', 'DeliveryTimedOut', true],
    ['TimedOut', 'Execution Timed Out', true],
    ['Failed', 'Undeliverable', true],
    ['Cancelled', 'Terminated', true],
    ['Failed', 'RateExceeded', true],
    ['Cancelled', 'Cancelled', false],
    ['Failed', 'InvalidPlatform', false],
    ['Failed', 'AccessDenied', false],
  ])('%s, %s: trying again helps: %s', async (status, statusDetails, isRetryable) => {
    const pushed = (await push(await addNodes(1, ending({})))).filter(isPushed);
    await lab.aws.waitForCommands();
    for (const invocation of lab.aws.state.invocations) Object.assign(invocation, { status, statusDetails });
    const [proof] = await lab.cloud.channel.collectProofs(pushed, soon());
    expect(proof).toMatchObject({ result: 'failed', error: { code: 'command-not-run' } });
    expect(proof?.result === 'failed' && proof.error instanceof RetryableError).toBe(isRetryable);
  });

  test('without permission to read results nothing can be proven', async () => {
    lab.aws.deny('ssm:ListCommandInvocations', '*');
    await expect(pushAndProve(reporting())).rejects.toThrow('ssm:ListCommandInvocations on *');
  });
});

test('pushes of several rule sets at the same time ask once which agents are online', async () => {
  const nodes = await addNodes(6);
  const some = await Promise.all([
    push(nodes.slice(0, 3)),
    push(nodes.slice(3), { ...ruleSet, destinations: [] }),
  ]);
  expect(some.flat().map(({ result }) => result)).toEqual(Array(6).fill('pushed'));
  expect(lab.aws.count('DescribeInstanceInformation')).toBe(1);
});

describe('SSM refuses all for one that it does not name', () => {
  test('once: all are sent to, half at a time', async () => {
    const nodes = await addNodes(20);
    lab.aws.fail('SendCommand', 'InvalidInstanceId', '');
    expect((await push(nodes)).every(({ result }) => result === 'pushed')).toBe(true);
    expect(lab.aws.count('SendCommand')).toBe(3);
  });

  test('always: no more than some calls are made', async () => {
    lab.aws.fail('SendCommand', 'InvalidInstanceId', '', Infinity);
    const pushes = await push(await addNodes(20));
    expect(pushes.every(({ result }) => result === 'not-ready')).toBe(true);
    // Of each call the SDK makes one attempt more.
    expect(lab.aws.count('SendCommand')).toBeLessThanOrEqual(14);
  });
});

describe('remember', () => {
  const anyTime = expect.any(Number) as unknown as number;
  const writeRecords = (nodes: readonly AwsNode[], changes: Partial<PushRecord<AwsNode>> = {}) =>
    lab.cloud.channel.writeRecords(
      nodes.map((node) => ({
        node,
        ruleSetId: ruleSetId(ruleSet),
        state: 'proven' as const,
        routes: 3,
        ...changes,
      })),
      soon(),
    );
  const readRecorded = async (nodes: readonly AwsNode[]) =>
    (
      await lab.cloud.nodes.get(
        nodes.map(({ ref }) => ref),
        soon(),
      )
    ).map(({ recorded }) => recorded && { ...recorded, at: recorded.at?.getTime() });

  test.each(['proven', 'failed'] as const)(
    'what is remembered is found by the next look-up: %s',
    async (state) => {
      const nodes = await addNodes(2);
      await writeRecords(nodes, { state });
      const isProven = state === 'proven';
      const recorded = { ruleSetId: ruleSetId(ruleSet), isProven, routes: 3, at: anyTime };
      expect(await readRecorded(nodes)).toEqual([recorded, recorded]);
    },
  );

  test('1,000 nodes with one rule set take one call', async () => {
    await writeRecords(await addNodes(1_000));
    expect(lab.aws.count('CreateTags')).toBe(1);
  });

  test('the failure of a node that has no rule set in force leaves the tag of the rule set alone', async () => {
    const nodes = await addNodes(1);
    await writeRecords(nodes);
    const records = nodes.map((node) => ({ node, state: 'failed' as const }));
    await lab.cloud.channel.writeRecords(records, soon());
    expect(await readRecorded(nodes)).toEqual([
      { ruleSetId: ruleSetId(ruleSet), isProven: false, at: anyTime },
    ]);
  });

  const fillTags = ({ ref }: AwsNode) => {
    const tags = lab.aws.state.instances.get(ref.id)?.tags;
    for (let i = tags?.size ?? 0; i < 50; i++) tags?.set(`key-${i}`, '');
  };
  const codes = (unwritten: Awaited<ReturnType<typeof writeRecords>>) =>
    Object.fromEntries(unwritten.map(({ node, error }) => [node.ref.id, error.code]));

  test('nodes that are gone or have no room for tags are told; the others are remembered', async () => {
    const nodes = await addNodes(30);
    const [gone, full, alsoFull, ...others] = [3, 17, 29, ...nodes.keys()].map((i) => nodes[i]) as AwsNode[];
    lab.aws.state.instances.delete(gone?.ref.id ?? '');
    for (const node of [full, alsoFull]) if (node) fillTags(node);
    expect(codes(await writeRecords(nodes))).toEqual({
      [gone?.ref.id ?? '']: 'InvalidInstanceID.NotFound',
      [full?.ref.id ?? '']: 'TagLimitExceeded',
      [alsoFull?.ref.id ?? '']: 'TagLimitExceeded',
    });
    const good = others.filter((node) => ![gone, full, alsoFull].includes(node));
    expect(good).toHaveLength(27);
    expect(await readRecorded(good)).toEqual(
      good.map(() => ({ ruleSetId: ruleSetId(ruleSet), isProven: true, routes: 3, at: anyTime })),
    );
  });

  test('one full node among 1,000 is found with some 20 calls', async () => {
    const nodes = await addNodes(1_000);
    const [, , full] = nodes;
    if (full) fillTags(full);
    expect(codes(await writeRecords(nodes))).toEqual({ [full?.ref.id ?? '']: 'TagLimitExceeded' });
    expect(lab.aws.count('CreateTags')).toBeLessThan(25);
  });

  test.each<[string, string, () => void, number]>([
    [
      'a denial',
      'access-denied',
      () => {
        lab.aws.deny('ec2:CreateTags');
      },
      1,
    ],
    [
      'throttling',
      'throttled',
      () => {
        lab.aws.throttle('CreateTags', 99);
      },
      3,
    ],
  ])('%s is told of all, and not tried node by node', async (_, code, refuse, calls) => {
    const nodes = await addNodes(4);
    refuse();
    expect(codes(await writeRecords(nodes))).toEqual(
      Object.fromEntries(nodes.map(({ ref }) => [ref.id, code])),
    );
    expect(lab.aws.count('CreateTags')).toBe(calls);
  });

  test('a push outdates what was remembered, even if the node never answers it', async () => {
    const nodes = await addNodes(2);
    await writeRecords(nodes);
    const proven = await lab.cloud.nodes.get(
      nodes.map(({ ref }) => ref),
      soon(),
    );
    await push(proven, { ...ruleSet, destinations: [] });
    const outdated = { ruleSetId: ruleSetId(ruleSet), isProven: false, routes: 3, at: anyTime };
    expect(await readRecorded(nodes)).toEqual([outdated, outdated]);
    expect(lab.aws.count('CreateTags')).toBe(2);
  });

  test('what was pushed a moment ago is not pushed again; another rule set is', async () => {
    const fresh = await addNodes(2);
    await push(fresh);
    const seen = await lab.cloud.nodes.get(
      fresh.map(({ ref }) => ref),
      soon(),
    );
    expect((await push(seen)).map(({ result }) => result)).toEqual(['not-ready', 'not-ready']);
    expect(lab.aws.count('SendCommand')).toBe(1);
    const other = await push(seen, { ...ruleSet, destinations: [] });
    expect(other.map(({ result }) => result)).toEqual(['pushed', 'pushed']);
  });

  test('a node that has no room for tags is pushed to all the same', async () => {
    const nodes = await addNodes(1);
    for (const node of nodes) fillTags(node);
    expect((await push(nodes)).map(({ result }) => result)).toEqual(['pushed']);
  });

  test('a node that is starting is known to be not ready: its agent is not there yet', async () => {
    const [node] = await addNodes(1);
    if (!node) throw new Error('no node');
    expect(lab.cloud.channel.checkReadiness(node)).toBeUndefined();
    expect(lab.cloud.channel.checkReadiness({ ...node, state: 'starting' })).toMatchObject({
      reason: 'it is starting',
    });
  });

  test('a node whose proof cannot be outdated is not pushed to', async () => {
    const [known, fresh] = await addNodes(2);
    if (!known || !fresh) throw new Error('no nodes');
    await writeRecords([known]);
    lab.aws.deny('ec2:CreateTags');
    const [proven] = await lab.cloud.nodes.get([known.ref], soon());
    const pushes = await push(proven ? [proven, fresh] : []);
    expect(results(pushes)).toEqual({ [known.ref.id]: 'failed', [fresh.ref.id]: 'pushed' });
    expect(pushes).toContainEqual(
      expect.objectContaining({ error: expect.objectContaining({ code: 'access-denied' }) }),
    );
  });

  test('another instance with a copy of the tags has proven nothing, but may have rules', async () => {
    const [node] = await addNodes(1);
    await writeRecords(node ? [node] : []);
    const tags = lab.aws.state.instances.get(node?.ref.id ?? '')?.tags ?? new Map<string, string>();
    const copy = lab.aws.addNode({ subnetId, tags: Object.fromEntries(tags) });
    const instance = lab.aws.state.instances.get(copy);
    if (instance) instance.launchTime = new Date(Date.now() + 1_000);
    const ref = { cloud: 'aws', account: labAccount, region: labRegion, id: copy } as const;
    expect((await lab.cloud.nodes.get([ref], soon()))[0]?.recorded).toEqual({
      ruleSetId: ruleSetId(ruleSet),
      isProven: false,
      routes: 3,
      at: expect.any(Date),
    });
  });
});
