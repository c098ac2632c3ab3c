import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { parse, parseAllDocuments } from 'yaml';
import { renderRuleSetDaemonSet } from '../../../shared/core/render/daemonset';
import { renderIpMasqAgent } from '../../../shared/core/render/ip-masq-agent';
import { renderIptables } from '../../../shared/core/render/iptables';
import { renderStartupScript } from '../../../shared/core/render/startup-script';
import { printRuleSet, ruleSetId } from '../../../shared/core/rule-set';
import { describeKernel } from '../../lab/kernel';
import { openNetwork, type Network } from '../../node/network';
import { fullRuleSet, ruleSetOf } from '../rule-sets';

const program = readFileSync('shared/node/peermasq.sh', 'utf8');

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

test('the DaemonSet carries that script, and runs it with the rights of the one that installs the watcher', () => {
  const text = renderRuleSetDaemonSet(program, fullRuleSet, { namespace: 'net', image: 'bash:5' });
  const [configMap, daemonSet] = parseAllDocuments(text).map((document) => document.toJS() as object);
  expect(configMap).toMatchObject({ data: { 'peermasq.sh': renderStartupScript(program, fullRuleSet) } });
  expect(JSON.stringify(daemonSet)).toContain('sh /run/peermasq-install.sh\\nrm /run/peermasq-install.sh');
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
