import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readFrom, readTo } from '../../../functions/cli/connection';
import { examine } from '../../../functions/cli/examine';
import { diagnose, type Diagnosis } from '../../../shared/core/doctor';
import type { LinkName } from '../../../shared/core/reach';
import { openAccount, type Account } from '../../lab/demo/aws-cloud';
import type { WayBreak } from '../../lab/aws/way';
import { describeKernel } from '../../lab/kernel';
import { buildNetworks, type Networks } from '../../lab/networks';
import { awsPeering } from '../../lab/topologies';

const program = 'shared/node/peermasq.sh';
const { node, peer } = awsPeering;

describeKernel('doctor on AWS', undefined, () => {
  let networks: Networks;
  let account: Account;
  beforeAll(async () => {
    networks = await buildNetworks(awsPeering);
    account = await openAccount(networks, { state: 'running' });
    Object.assign(process.env, account.aws.env);
  }, 30_000);
  afterAll(async () => {
    await account.close();
    await networks.close();
  });

  async function doctor(from: string = node.pods.pod): Promise<Diagnosis> {
    const { config, deployment } = account;
    const options = { config, cloud: 'aws', stage: deployment.stage, timeout: 60 } as const;
    const to = await readTo(`${peer.address}:${peer.port}`);
    return diagnose(await examine(await readFrom(from, account.id), to, options));
  }
  const iptables = (...args: string[]) => must(['iptables', '-w', '-t', 'nat', ...args]);
  async function must(
    argv: readonly string[],
    env: Record<string, string> = {},
    stdin = '',
  ): Promise<string> {
    const { status, stdout, stderr } = await networks.node.run(argv, { env, stdin });
    if (status !== 0) throw new Error(`${argv.join(' ')} ended with ${status}: ${stderr}${stdout}`);
    return stdout;
  }
  const apply = (ruleSet: string, env: Record<string, string> = {}) =>
    must(['bash', program, 'apply'], env, ruleSet);
  const remove = () => must(['bash', program, 'remove']);
  const ruleSet = (generation: number, ...more: string[]) =>
    `peermasq/1\ngeneration ${generation}\nsource ${node.pods.range}\n${more.map((line) => `${line}\n`).join('')}masquerade 10.0.0.0/16 pcx\n`;
  const isReached = async () => (await networks.pod.request(700)).reached;

  test('a node without rules of peermasq: no masquerade rule, and a backfill mends it', async () => {
    expect(await isReached()).toBe(false);
    const { broken, checks } = await doctor();
    expect(broken).toMatchObject({
      link: 'masquerading',
      cure: `npx peermasq backfill --node ${account.id}`,
    });
    expect(broken?.evidence[0]).toContain('asks for ! -d 10.0.0.0/8');
    expect(checks.slice(0, 6).map(({ state }) => state)).toEqual(['ok', 'ok', 'ok', 'ok', 'ok', 'ok']);
    const { status, stderr } = await account.peermasq(['backfill', '--yes']);
    expect({ status, stderr }).toMatchObject({ status: 0 });
  });

  test('after it nothing is broken, and the packets agree', async () => {
    expect(await doctor()).toMatchObject({ broken: null });
    expect(await isReached()).toBe(true);
  });

  test('from the node itself masquerading is not needed', async () => {
    const { broken, checks } = await doctor(account.id);
    expect(broken).toBeNull();
    expect(checks.find(({ link }) => link === 'masquerading')).toMatchObject({ state: 'not-needed' });
  });

  describe('in the cloud', () => {
    test.each<[WayBreak, LinkName, string]>([
      ['peering pending', 'peering', 'aws ec2 accept-vpc-peering-connection'],
      ['no route there', 'route-there', 'aws ec2 create-route'],
      ['no route back', 'route-back', 'aws ec2 create-route'],
      ['group closed at the node', 'firewall-node', 'aws ec2 authorize-security-group-egress'],
      ['ACL closed at the node', 'firewall-node', 'aws ec2 create-network-acl-entry'],
      ['group closed at the peer', 'firewall-peer', 'aws ec2 authorize-security-group-ingress'],
      ['ACL closed at the peer', 'firewall-peer', 'aws ec2 create-network-acl-entry'],
    ])('%s: %s is the first broken link', async (place, link, cure) => {
      const mend = save(account);
      account.way?.breakAt(place);
      try {
        const { broken } = await doctor();
        expect(broken).toMatchObject({ link });
        expect(broken?.cure).toContain(cure);
      } finally {
        mend();
      }
    });
  });

  describe('on the node', () => {
    test('a RETURN before the masquerade', async () => {
      await iptables('-I', 'POSTROUTING', '1', '-d', '10.0.0.0/16', '-j', 'RETURN');
      const { broken } = await doctor();
      await iptables('-D', 'POSTROUTING', '-d', '10.0.0.0/16', '-j', 'RETURN');
      expect(broken).toMatchObject({ link: 'masquerading' });
      expect(broken?.evidence.join('\n')).toContain('-d 10.0.0.0/16 -j RETURN');
    });

    test('an exemption in the way', async () => {
      await remove();
      await apply(ruleSet(Date.now(), `exempt ${peer.address}/32 except`));
      expect(await isReached()).toBe(false);
      const { broken } = await doctor();
      expect(broken).toMatchObject({ link: 'masquerading' });
      expect(broken?.evidence.join('\n')).toContain(
        `-d ${peer.address}/32 -m comment --comment "peermasq: except" -j RETURN`,
      );
    });

    test('rules in another backend than the node’s own', async () => {
      await remove();
      await apply(ruleSet(Date.now()), { PEERMASQ_BACKEND: 'iptables-legacy' });
      const { broken } = await doctor();
      expect(broken).toMatchObject({
        link: 'masquerading',
        cure: `npx peermasq backfill --node ${account.id}`,
      });
      expect(broken?.evidence.join('\n')).toContain('iptables-legacy');
    });
  });
});

/** @returns what puts back everything that a break changes */
function save({ way }: Account): () => void {
  if (!way) throw new Error('The peer is not in AWS');
  const { peering, node: near, peer: far } = way;
  const before = { status: peering.status };
  const sides = [near, far].map((side) => ({
    side,
    routes: [...side.table.routes],
    egress: [...side.group.egress],
    ingress: [...side.group.ingress],
    entries: [...side.acl.entries],
  }));
  return () => {
    peering.status = before.status;
    for (const { side, routes, egress, ingress, entries } of sides) {
      side.table.routes = routes;
      side.group.egress = egress;
      side.group.ingress = ingress;
      side.acl.entries.splice(0, side.acl.entries.length, ...entries);
    }
  };
}
