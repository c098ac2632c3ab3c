import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAddress } from '../../../shared/core/model/cidr';
import { explain } from '../../../shared/core/explain/explain';
import { parseSnapshot } from '../../../shared/core/explain/parse/snapshot';

const loadDump = (name: string) =>
  parseSnapshot(readFileSync(join(__dirname, 'dumps', `${name}.txt`), 'utf8'));

const pod = '10.132.0.10';
const node = '10.209.0.2';
const to = {
  peer: '10.193.0.3',
  outside: '203.0.113.7',
  pod: '10.132.1.7',
  internet: '8.8.8.8',
  node,
} as const;

function explainDump(dump: string, destination: string, from = pod, port = 32191) {
  const { masqueraded, source, cause } = explain(loadDump(dump), {
    source: parseAddress(from),
    destination: parseAddress(destination),
    protocol: 'tcp',
    sourcePort: 40_000,
    destinationPort: port,
    isFromNode: from === node,
  });
  return [masqueraded, source, cause];
}

const noRule = [false, pod, 'no-rule'];
const shadowed = [false, pod, 'shadowed'];
const masqueraded = [true, node, 'masqueraded'];
const staysOnNode = [false, null, 'stays-on-node'];

/** What happens to a peer inside 10/8, a peer outside, another node's pod, the internet. */
const nodes = [
  ['kubenet', noRule, masqueraded, noRule, masqueraded],
  ['kops', masqueraded, masqueraded, masqueraded, masqueraded],
  // GKE masquerades no range that is kept for documentation, either.
  ['gke', shadowed, shadowed, shadowed, masqueraded],
  ['eks', shadowed, masqueraded, shadowed, masqueraded],
  ['calico', noRule, masqueraded, noRule, masqueraded],
  ['cilium', noRule, masqueraded, noRule, masqueraded],
  ['flannel', shadowed, masqueraded, shadowed, masqueraded],
  ['docker', masqueraded, masqueraded, masqueraded, masqueraded],
  ['peermasq', masqueraded, masqueraded, [false, pod, 'exempt'], masqueraded],
] as const;

describe.each(nodes)('a node with %s', (dump, peer, outside, otherPod, internet) => {
  test.each([
    ['a peer inside 10.0.0.0/8', to.peer, peer],
    ['a peer outside', to.outside, outside],
    ['a pod of another node', to.pod, otherPod],
    ['the internet', to.internet, internet],
    ['its own node', to.node, staysOnNode],
  ] as const)('from a pod to %s', (_, destination, expected) => {
    expect(explainDump(dump, destination)).toEqual(expected);
  });

  test('from the node itself: its address, masqueraded or not', () => {
    expect(explainDump(dump, to.peer, node)[1]).toBe(node);
  });
});

test('a service of the cluster is translated to its pod, which is no reason to masquerade', () => {
  expect(explainDump('kubenet', '10.135.240.9', pod, 80)).toEqual(noRule);
});

test("the nearest rule that leaves the destination out is named, with the backend's own command", () => {
  const { reason, fix } = explain(loadDump('kubenet'), {
    source: parseAddress(pod),
    destination: parseAddress(to.peer),
    protocol: 'tcp',
    destinationPort: 32191,
    isFromNode: false,
  });
  expect(reason).toContain(
    'Closest match: POSTROUTING rule 2 (iptables-nft, table nat), skipped because the destination is inside 10.0.0.0/8: ',
  );
  expect(fix).toBe(
    'iptables-nft -t nat -I POSTROUTING 1 -s 10.132.0.10/32 -d 10.193.0.3/32 -m addrtype ! --dst-type LOCAL -j MASQUERADE',
  );
});

describe('peermasq in nft alone', () => {
  test.each([
    [to.peer, masqueraded],
    ['10.193.7.9', [false, pod, 'exempt']],
    [to.node, staysOnNode],
  ] as const)('to %s', (destination, expected) => {
    expect(explainDump('nft', destination)).toEqual(expected);
  });
});
