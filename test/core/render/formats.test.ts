import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { parse, parseAllDocuments } from 'yaml';
import { renderDaemonSet, renderRuleSetDaemonSet } from '../../../shared/core/render/daemonset';
import { renderIpMasqAgent } from '../../../shared/core/render/ip-masq-agent';
import { renderIptables } from '../../../shared/core/render/iptables';
import { renderStartupScript } from '../../../shared/core/render/startup-script';
import { printRuleSet, ruleSetId } from '../../../shared/core/model/rule-set';
import { describeKernel } from '../../lab/kernel';
import { openLab, type Host, type Lab } from '../../lab/netns';
import { openNetwork, sh, type Network } from '../../node/network';
import { fullRuleSet, ruleSetOf } from '../model/rule-sets';
import { nodeProgram } from '../../lab/node-program';

const program = nodeProgram;

describe('a rule set rendered as iptables-restore input', () => {
  test("contains the node program's chain, and inserts a jump to that chain as the first rule", () => {
    expect(renderIptables(fullRuleSet, 4))
      .toBe(`# Rule set ${ruleSetId(fullRuleSet)}, for iptables-restore --noflush.
# Applying this file again adds a second jump. Check for an existing jump first.
*nat
:PEERMASQ - [0:0]
-A PEERMASQ -d 10.132.0.0/14 -m comment --comment "peermasq: pods" -j RETURN
-A PEERMASQ -d 10.193.7.0/24 -m comment --comment "peermasq: except" -j RETURN
-A PEERMASQ -s 10.132.0.0/14 -d 10.193.0.0/16 -o eth0 -m addrtype ! --dst-type LOCAL -m comment --comment "peermasq: backend-vpc" -j MASQUERADE --random-fully
-A PEERMASQ -s 10.132.0.0/14 -d 10.194.0.1/32 -o eth0 -m addrtype ! --dst-type LOCAL -m comment --comment "peermasq: a@b:/c.d_e-f" -j MASQUERADE --random-fully
-I POSTROUTING 1 -m comment --comment peermasq -j PEERMASQ
COMMIT
`);
  });

  test('says that steering is not included', () => {
    const lines = ['source 10.132.0.0/14', 'masquerade 10.193.0.0/16 x'];
    const steered = { ...ruleSetOf(...lines), isSteered: true };
    expect(renderIptables(steered, 4)).toContain('\n# option steer is not included: ');
  });

  test('is undefined for an address family without destinations or sources', () => {
    const noPods = ruleSetOf('source 10.132.0.0/14', 'masquerade fd00:193::/32 six');
    expect(renderIptables(noPods, 4)).toBeUndefined();
    expect(renderIptables(noPods, 6)).toBeUndefined();
  });

  test('matches any source if the rule set has no sources', () => {
    expect(renderIptables(ruleSetOf('masquerade 10.193.0.0/16 x'), 4)).toContain(
      '-A PEERMASQ -d 10.193.0.0/16 -m addrtype ! --dst-type LOCAL',
    );
  });
});

describeKernel('on a node', undefined, () => {
  let network: Network;
  beforeAll(async () => {
    network = await openNetwork('iptables-nft');
  });
  afterAll(() => network.lab.close());

  const nat = async (family: 4 | 6) =>
    (await network.node.run([family === 4 ? 'iptables-nft-save' : 'ip6tables-nft-save', '-t', 'nat']))
      .replaceAll(/^#.*\n/gm, '')
      .replaceAll(/ \[\d+:\d+\]$/gm, '');

  test('iptables-restore input produces the same rules as the node program', async () => {
    for (const family of [4, 6] as const) {
      const restore = family === 4 ? 'iptables-nft-restore' : 'ip6tables-nft-restore';
      await network.node.run([restore, '--noflush'], { stdin: renderIptables(fullRuleSet, family) ?? '' });
    }
    const rendered = [await nat(4), await nat(6)];
    await network.peermasq(['remove']);
    await network.apply(printRuleSet(fullRuleSet));
    expect([await nat(4), await nat(6)]).toEqual(rendered);
    await network.peermasq(['remove']);
  });

  test('the startup script installs the program and applies the rule set, and a second run changes nothing', async () => {
    const script = renderStartupScript(program, fullRuleSet);
    const env = { PEERMASQ_DIR: `${network.node.folder}/from-script`, PEERMASQ_PERSIST: '0' };
    const run = async () =>
      JSON.parse(await network.node.run(['sh', '-c', script], { env })) as Record<string, unknown>;
    expect(await run()).toMatchObject({ result: 'applied', proven: true, id: ruleSetId(fullRuleSet) });
    expect(await run()).toMatchObject({ result: 'unchanged', proven: true });
  });
});

test('the startup script is valid POSIX shell', () => {
  execFileSync('sh', ['-n'], { input: renderStartupScript(program, fullRuleSet) });
});

interface Installer {
  readonly command: readonly string[];
  readonly securityContext: { readonly capabilities: { readonly add: readonly string[] } };
}

describe('the DaemonSet for a rule set', () => {
  const resourcesOf = (text: string) =>
    parseAllDocuments(text).map((document) => document.toJS() as Record<string, unknown>);
  const options = { namespace: 'net', image: 'bash:5' };
  const [configMap, daemonSet] = resourcesOf(renderRuleSetDaemonSet(program, fullRuleSet, options));
  const script = renderStartupScript(program, fullRuleSet);
  const [installer] = (daemonSet as { spec: { template: { spec: { initContainers: Installer[] } } } }).spec
    .template.spec.initContainers;
  if (!installer) throw new Error('no init container');
  const { add: capabilities } = installer.securityContext.capabilities;

  test('contains the startup script, and is named differently from the DaemonSet for the watcher', () => {
    expect(configMap).toMatchObject({ data: { 'peermasq.sh': script } });
    const namesOf = (resources: object[]) =>
      resources.map((resource) => (resource as { metadata: { name: string } }).metadata.name);
    const watcherNames = namesOf(resourcesOf(renderDaemonSet(program, options)));
    for (const resource of [configMap, daemonSet]) {
      expect(resource).toMatchObject({
        metadata: { name: 'peermasq-ruleset', labels: { 'app.kubernetes.io/name': 'peermasq-ruleset' } },
      });
    }
    expect(watcherNames).not.toContain('peermasq-ruleset');
  });

  describeKernel('on a node', undefined, () => {
    let lab: Lab;
    let node: Host;
    let pod: Host;
    /** The PID, outside the lab, of the process that the container sees as process 1 (hostPID). */
    let initPid: string;
    beforeAll(async () => {
      lab = openLab();
      [node, pod] = await Promise.all([lab.machine('node'), lab.machine('pod')]);
      const init = node.spawn([
        ...['unshare', '--mount', '--pid', '--fork', '--mount-proc', 'sh', '-c'],
        'mount -t tmpfs tmpfs /var/lib && echo up && exec sleep infinity',
      ]);
      await init.output(/up/);
      initPid = (await node.run(['pgrep', '-P', String(init.pid)])).trim();
      await lab.addVethPair(
        { machine: node, device: 'eth0', addresses: ['10.209.0.2/24', 'fd00:209::2/64'] },
        { machine: pod, device: 'router' },
      );
      await sh(
        node,
        `ip route add default via 10.209.0.1
        ip -6 route add default via fd00:209::1
        echo 1 | tee /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding`,
      );
      // A kubelet that uses iptables-legacy creates this chain, from which the node program detects the backend.
      // Reading the chain requires a raw socket.
      await node.run(['iptables-legacy', '-t', 'mangle', '-N', 'KUBE-KUBELET-CANARY']);
    });
    afterAll(() => lab.close());

    /** Runs the install container in the pod's network, with only these capabilities. */
    const install = (capabilities: readonly string[]) =>
      pod.exec(
        [
          ...['nsenter', '--target', initPid, '--pid', '--', 'unshare', '--mount', 'sh', '-c'],
          'mount -t proc proc /proc && only=$1 && shift && exec setpriv --bounding-set "$only" "$@"',
          ...['container', ['-all', ...capabilities.map((name) => `+${name.toLowerCase()}`)].join(',')],
          ...installer.command.slice(installer.command.indexOf('nsenter')),
        ],
        { stdin: script },
      );
    const rules = (host: Host) => host.run(['iptables-legacy-save', '-t', 'nat']);

    test.each(capabilities)("does not install rules in the node's backend without %s", async (missing) => {
      await install(capabilities.filter((name) => name !== missing));
      expect(await rules(node)).not.toContain('PEERMASQ');
    });

    test("applies the rules in the node's network, not in the pod's", async () => {
      const { code, stdout } = await install(capabilities);
      expect(code).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ result: 'applied', proven: true });
      expect(await rules(node)).toContain('-A POSTROUTING -m comment --comment peermasq -j PEERMASQ');
      expect(await rules(pod)).not.toContain('PEERMASQ');
    });
  });
});

test('the ip-masq-agent config excludes the private ranges that are not destinations, and every exemption', () => {
  const { data } = parse(renderIpMasqAgent(fullRuleSet)) as { data: { config: string } };
  const { nonMasqueradeCIDRs } = parse(data.config) as { nonMasqueradeCIDRs: string[] };
  expect(nonMasqueradeCIDRs).toEqual(
    expect.arrayContaining([
      '10.0.0.0/9',
      '10.128.0.0/10',
      '10.193.7.0/24',
      '172.16.0.0/12',
      '192.168.0.0/16',
    ]),
  );
  expect(nonMasqueradeCIDRs).not.toContain('10.0.0.0/8');
  expect(nonMasqueradeCIDRs).not.toContain('10.193.0.0/16');
  expect(nonMasqueradeCIDRs.every((cidr) => !cidr.includes(':'))).toBe(true);
});
