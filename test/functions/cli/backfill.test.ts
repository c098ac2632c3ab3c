import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { makeDocument } from '../../../infra/aws/document';
import { documentName } from '../../../shared/aws/names';
import { storedRuleSet, openMachines } from '../../contracts/machines';
import { startLocalAws, type LocalAws } from '../../lab/aws/cloud';
import { describeKernel } from '../../lab/kernel';
import { openCliHome, type CliHome } from '../../lab/cli-home';
import { nodeProgram } from '../../lab/node-program';

const peering = 'pcx-0123456789abcdef0';
const config = (except: string) =>
  `clusters: {shop: {pods: [10.244.0.0/16], masquerade: [peerings], except: [${except}]}}`;

interface Summary {
  readonly nodes: readonly { readonly node: string; readonly state: string }[];
  readonly stopReason: string | null;
}

/**
 * Four nodes in a local AWS run the real node program. Each test is a step of the rollout and depends on earlier tests.
 */
describeKernel('a rollout from the command line', undefined, () => {
  let aws: LocalAws;
  let home: CliHome;
  const machines = openMachines();
  const ids: string[] = [];

  beforeAll(async () => {
    aws = await startLocalAws();
    home = openCliHome({ ...aws.env });
    aws.putDocument(documentName('dev'), makeDocument(nodeProgram));
    aws.state.peerings.push({ vpcPeeringConnectionId: peering, status: 'active' });
    const routes = [{ destinationCidrBlock: '10.0.0.0/16', vpcPeeringConnectionId: peering }];
    aws.addNetwork({
      vpcId: 'vpc-00000001',
      cidrs: ['172.20.0.0/16'],
      subnetIds: ['subnet-00000001'],
      routes,
    });
    for (let n = 0; n < 4; n += 1) {
      const { machine } = await machines.add();
      ids.push(aws.addNode({ subnetId: 'subnet-00000001', cluster: 'shop', machine }));
    }
    home.write('peermasq.yaml', config(''));
  }, 30_000);

  afterAll(async () => {
    home.close();
    await aws.waitForCommands();
    await aws.close();
    await machines.close();
  });

  const peermasq = (...args: string[]) => home.peermasq(args);
  const backfill = async (
    ...args: string[]
  ): Promise<{ status: number | null; states: string; stopReason: string | null }> => {
    const { status, stdout, stderr } = await peermasq('backfill', '--yes', '-o', 'json', ...args);
    if (stdout === '') throw new Error(stderr);
    const { nodes, stopReason } = JSON.parse(stdout) as Summary;
    return { status, states: nodes.map(({ state }) => state).join(' '), stopReason };
  };
  const kept = (n: number) => storedRuleSet(aws.state.agents.get(ids[n] ?? '')?.machine);

  test("plan shows each destination's origin and the number of affected nodes, and exits with 2", async () => {
    const { status, stdout, stderr } = await peermasq('plan');
    expect({ status, stderr }).toEqual({ status: 2, stderr: '' });
    expect(stdout).toContain('shop (aws us-east-1): 4 nodes → rule set ');
    expect(stdout).toContain(
      `+ masquerade 10.0.0.0/16 ${peering}    ← peerings: route to 10.0.0.0/16 through ${peering}`,
    );
    expect(stdout).toContain(
      'Plan: change 4 of 4 nodes in 1 of 1 cluster; start masquerading to 10.0.0.0/16.',
    );
    expect(aws.count('SendCommand')).toBe(0);
  });

  test('plan checks a region only once even if it is given twice, and names a region that cannot be checked', async () => {
    const regions = ['us-east-1', 'us-east-1', 'mars-1'].flatMap((region) => ['--region', region]);
    const { status, stdout, stderr } = await peermasq('plan', ...regions);
    expect(status).toBe(1);
    expect(stdout).toContain('Plan: change 4 of 4 nodes');
    expect(stdout).toMatch(/\nNot checked: aws mars-1\.\n$/);
    expect(stderr).toContain('error: aws mars-1: ');
    const { stdout: unchecked } = await peermasq('plan', '--region', 'mars-1', '-o', 'json');
    expect(JSON.parse(unchecked)).toMatchObject({ nodes: [], errors: [{ target: 'aws mars-1' }] });
  });

  test('backfill pushes nothing without confirmation', async () => {
    const { status, stderr } = await peermasq('backfill');
    expect(status).toBe(1);
    expect(stderr).toContain('error: Cannot prompt: stdin is not a terminal\nUse --yes.\n');
    expect(aws.count('SendCommand')).toBe(0);
  });

  test('backfill stops when a canary node is not proven', async () => {
    aws.setReady(ids[0] ?? '', false);
    const ended = await backfill('--wave-timeout', '1');
    expect(ended).toEqual({
      status: 1,
      states: 'pending untouched untouched untouched',
      stopReason: `canary aws:${ids[0]} is pending`,
    });
    expect(aws.count('SendCommand')).toBe(0);
    aws.setReady(ids[0] ?? '', true);
  });

  test('a rollback also covers nodes that never reported, and removes the rules of nodes that had none before', async () => {
    expect(await backfill('--canary', '0', '--wave-timeout', '1')).toMatchObject({ status: 1 });
    await aws.waitForCommands();
    const { status, states } = await backfill('--rollback', '--canary', '0');
    expect({ status, states }).toEqual({ status: 0, states: 'proven proven proven proven' });
    expect(await kept(3)).not.toContain('masquerade');
  }, 40_000);

  test('after an interrupt, backfill finishes the current wave, starts no more waves, and lists the untouched nodes', async () => {
    let isInterrupted = false;
    const { status, stdout, stderr } = await home.peermasq(['backfill', '--yes', '--wave', '2'], {
      onStderr: (text, signal) => {
        if (isInterrupted || !text.includes('wave 1 of 3')) return;
        isInterrupted = true;
        signal('SIGINT');
      },
    });
    expect(stderr).toContain('Interrupted. Finishing the current wave; no more will start.');
    expect(status).toBe(130);
    const states = await Promise.all(
      [0, 1, 2, 3].map(async (n) => ((await kept(n))?.includes('masquerade') ? 'rules' : 'no')),
    );
    const untouched = states.filter((state) => state === 'no').length;
    expect(stdout).toContain(`Backfill: ${4 - untouched} proven, ${untouched} untouched.`);
    expect(stdout).toContain('Stopped: interrupted. Untouched: ');
    expect(untouched).toBeGreaterThan(0);
  });

  test('the next backfill resumes the interrupted backfill, and once all nodes are proven, a backfill has nothing to do', async () => {
    const { status, states } = await backfill();
    expect(status).toBe(0);
    expect(states).toMatch(/^(proven ?)+$/);
    expect(await backfill()).toEqual({ status: 0, states: '', stopReason: null });
    const { status: clean, stdout } = await peermasq('plan');
    expect({ clean, stdout }).toEqual({
      clean: 0,
      stdout: 'shop (aws us-east-1): 4 nodes unchanged, proven\n\nNo changes: 4 nodes checked.\n',
    });
  });

  test('after a config change, plan shows the changed lines and the ranges that will no longer be masqueraded', async () => {
    home.write('peermasq.yaml', config('10.0.7.0/24'));
    const { stdout } = await peermasq('plan');
    expect(stdout).toContain('  + exempt 10.0.7.0/24 except\n');
    expect(stdout).toContain('    masquerade 10.0.0.0/16');
    expect(stdout).not.toContain('+ masquerade');
    expect(stdout).toContain('; stop masquerading to 10.0.7.0/24.');
  });

  test('a rollback restores the previous rule set on one node or on all nodes, and a repeated rollback changes nothing', async () => {
    const before = (await kept(1))?.replace(/generation .*/, '');
    const rules = async (n: number) => (await kept(n))?.replace(/generation .*/, '');
    expect(await backfill('--canary', '0')).toMatchObject({
      status: 0,
      states: 'proven proven proven proven',
    });
    expect(await rules(1)).toContain('exempt 10.0.7.0/24 except');
    expect(await backfill('--rollback', '--node', ids[1] ?? '')).toMatchObject({
      status: 0,
      states: 'proven',
    });
    expect([await rules(1), await rules(2)]).toEqual([before, expect.stringContaining('except')]);
    expect(await backfill('--rollback', '--canary', '0')).toMatchObject({
      status: 0,
      states: 'proven proven proven proven',
    });
    expect(await backfill('--rollback', '--canary', '0')).toMatchObject({ status: 0 });
    expect([await rules(1), await rules(2)]).toEqual([before, before]);
  }, 40_000);

  test('status shows nodes whose rules differ from the config', async () => {
    const { stdout } = await peermasq('status', '-o', 'json');
    expect(JSON.parse(stdout)).toMatchObject({
      clusters: [{ target: 'aws us-east-1', cluster: 'shop', nodes: 4, pending: 4, drifted: 4 }],
      nodes: [{ node: `aws:${ids[0]}`, state: 'pending', drift: true }, {}, {}, {}],
    });
    expect((await peermasq('status')).stdout).toContain('The rule set differs from the plan.');
  });

  test('nodes that are held after their routes disappear are neither changed nor reported as up to date', async () => {
    for (const table of aws.state.routeTables) table.routes = [];
    const plan = await peermasq('plan');
    expect(plan.stdout).toContain('Use --allow-route-loss to plan it anyway.');
    expect(plan.stdout).toContain('No changes: 4 nodes checked; 4 held.');
    expect((await peermasq('status')).stdout).toContain('Held: Found 0 routes in vpc-00000001');
    const { status, stdout } = await peermasq('backfill', '--yes');
    expect(status).toBe(1);
    expect(stdout).toContain('Nothing to push. See above for nodes without a plan.');
  });
});
