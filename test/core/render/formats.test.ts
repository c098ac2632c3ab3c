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
import { openNetwork, type Network } from '../../node/network';
import { fullRuleSet, ruleSetOf } from '../model/rule-sets';
import { nodeProgram } from '../../lab/node-program';

const program = nodeProgram;

describe('iptables', () => {
  test('the chain as the node program has it, with its jump first', () => {
    expect(renderIptables(fullRuleSet, 4))
      .toBe(`# Rule set ${ruleSetId(fullRuleSet)}, for iptables-restore --noflush.
# A second time it adds a second jump: look first whether there is one.
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

  test('a family without destinations, or without pods, has no rules', () => {
    const noPods = ruleSetOf('source 10.132.0.0/14', 'masquerade fd00:193::/32 six');
    expect(renderIptables(noPods, 4)).toBeUndefined();
    expect(renderIptables(noPods, 6)).toBeUndefined();
  });

  test('without any pod range the rules match any source', () => {
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

  test('what is rendered for iptables is what the node program puts in force', async () => {
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

  test('the startup script installs the program and applies, and a second run changes nothing', async () => {
    const script = renderStartupScript(program, fullRuleSet);
    const env = { PEERMASQ_DIR: `${network.node.folder}/from-script`, PEERMASQ_PERSIST: '0' };
    const run = async () =>
      JSON.parse(await network.node.run(['sh', '-c', script], { env })) as Record<string, unknown>;
    expect(await run()).toMatchObject({ result: 'applied', proven: true, id: ruleSetId(fullRuleSet) });
    expect(await run()).toMatchObject({ result: 'unchanged', proven: true });
  });
});

test('the startup script is plain sh', () => {
  execFileSync('sh', ['-n'], { input: renderStartupScript(program, fullRuleSet) });
});

/** The container of the DaemonSet that does the work. */
interface Installer {
  readonly command: readonly string[];
  readonly securityContext: { readonly capabilities: { readonly add: readonly string[] } };
}

describe('the DaemonSet of a rule set', () => {
  const resourcesOf = (text: string) =>
    parseAllDocuments(text).map((document) => document.toJS() as Record<string, unknown>);
  const options = { namespace: 'net', image: 'bash:5' };
  const [configMap, daemonSet] = resourcesOf(renderRuleSetDaemonSet(program, fullRuleSet, options));
  const script = renderStartupScript(program, fullRuleSet);
  const [installer] = (daemonSet as { spec: { template: { spec: { initContainers: Installer[] } } } }).spec
    .template.spec.initContainers;
  if (!installer) throw new Error('nothing installs');
  const { add: capabilities } = installer.securityContext.capabilities;

  test('carries the startup script, and lives beside the one that installs the watcher', () => {
    expect(configMap).toMatchObject({ data: { 'peermasq.sh': script } });
    const namesOf = (resources: object[]) =>
      resources.map((resource) => (resource as { metadata: { name: string } }).metadata.name);
    const others = namesOf(resourcesOf(renderDaemonSet(program, options)));
    for (const resource of [configMap, daemonSet]) {
      expect(resource).toMatchObject({
        metadata: { name: 'peermasq-ruleset', labels: { 'app.kubernetes.io/name': 'peermasq-ruleset' } },
      });
    }
    expect(others).not.toContain('peermasq-ruleset');
  });

  describeKernel('on a node', undefined, () => {
    let lab: Lab;
    let node: Host;
    let pod: Host;
    /** Process 1 as the pod's container sees it (hostPID), by the number it has here. */
    let first: string;
    beforeAll(async () => {
      lab = openLab();
      [node, pod] = await Promise.all([lab.machine('node'), lab.machine('pod')]);
      const init = node.spawn([
        ...['unshare', '--mount', '--pid', '--fork', '--mount-proc', 'sh', '-c'],
        'mount -t tmpfs tmpfs /var/lib && echo up && exec sleep infinity',
      ]);
      await init.output(/up/);
      first = (await node.run(['pgrep', '-P', String(init.pid)])).trim();
      // As the kubelet leaves it. That backend takes a raw socket; who cannot read it uses the other one.
      await node.run(['iptables-legacy', '-t', 'mangle', '-N', 'KUBE-KUBELET-CANARY']);
    });
    afterAll(() => lab.close());

    /** What the container does, from the pod's network, with these capabilities alone. */
    const install = (capabilities: readonly string[]) =>
      pod.exec(
        [
          ...['nsenter', '--target', first, '--pid', '--', 'unshare', '--mount', 'sh', '-c'],
          'mount -t proc proc /proc && only=$1 && shift && exec setpriv --bounding-set "$only" "$@"',
          ...['container', ['-all', ...capabilities.map((name) => `+${name.toLowerCase()}`)].join(',')],
          ...installer.command.slice(installer.command.indexOf('nsenter')),
        ],
        { stdin: script },
      );
    const rules = (host: Host) => host.run(['iptables-legacy-save', '-t', 'nat']);

    test.each(capabilities)('without %s the node’s backend has no rules', async (missing) => {
      await install(capabilities.filter((name) => name !== missing));
      expect(await rules(node)).not.toContain('PEERMASQ');
    });

    test('it puts the rules in force in the node, and none in the pod', async () => {
      const { code, stdout } = await install(capabilities);
      expect(code).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ result: 'applied', proven: true });
      expect(await rules(node)).toContain('-A POSTROUTING -m comment --comment peermasq -j PEERMASQ');
      expect(await rules(pod)).not.toContain('PEERMASQ');
    });
  });
});

test('ip-masq-agent leaves alone what is private, less the destinations, and every exemption', () => {
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
