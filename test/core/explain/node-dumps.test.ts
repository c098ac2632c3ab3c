import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAddress } from '../../../shared/core/model/cidr';
import { explain } from '../../../shared/core/explain/explain';
import { parseSnapshot } from '../../../shared/core/explain/parse/snapshot';

const pod = '10.132.0.10';
const node = '10.209.0.2';
const to = {
  peer: '10.193.0.3',
  outside: '203.0.113.7',
  pod: '10.132.1.7',
  internet: '8.8.8.8',
  node,
} as const;

interface Connection {
  readonly destination: string;
  readonly from?: string;
  readonly port?: number;
}

const explainDump = (dump: string, { destination, from = pod, port = 32191 }: Connection) =>
  explain(parseSnapshot(readFileSync(join(__dirname, 'dumps', `${dump}.txt`), 'utf8')), {
    source: parseAddress(from),
    destination: parseAddress(destination),
    protocol: 'tcp',
    sourcePort: 40_000,
    destinationPort: port,
    isFromNode: from === node,
  });

interface Expected {
  readonly masqueraded: boolean;
  readonly source: string | null;
  readonly cause: string;
}

const noRule: Expected = { masqueraded: false, source: pod, cause: 'no-rule' };
const shadowed: Expected = { masqueraded: false, source: pod, cause: 'shadowed' };
const exempt: Expected = { masqueraded: false, source: pod, cause: 'exempt' };
const masqueraded: Expected = { masqueraded: true, source: node, cause: 'masqueraded' };
const staysOnNode: Expected = { masqueraded: false, source: null, cause: 'stays-on-node' };

/** `peer` is the expected result for a peer inside 10.0.0.0/8, and `outside` for a peer outside it. */
const nodes = [
  { dump: 'kubenet', peer: noRule, outside: masqueraded, otherPod: noRule, internet: masqueraded },
  { dump: 'kops', peer: masqueraded, outside: masqueraded, otherPod: masqueraded, internet: masqueraded },
  // GKE's own rules also exclude the ranges that are reserved for documentation.
  { dump: 'gke', peer: shadowed, outside: shadowed, otherPod: shadowed, internet: masqueraded },
  { dump: 'eks', peer: shadowed, outside: masqueraded, otherPod: shadowed, internet: masqueraded },
  { dump: 'calico', peer: noRule, outside: masqueraded, otherPod: noRule, internet: masqueraded },
  { dump: 'cilium', peer: noRule, outside: masqueraded, otherPod: noRule, internet: masqueraded },
  { dump: 'flannel', peer: shadowed, outside: masqueraded, otherPod: shadowed, internet: masqueraded },
  { dump: 'docker', peer: masqueraded, outside: masqueraded, otherPod: masqueraded, internet: masqueraded },
  { dump: 'peermasq', peer: masqueraded, outside: masqueraded, otherPod: exempt, internet: masqueraded },
];

describe.each(nodes)(
  'the dump of a node with $dump shows that',
  ({ dump, peer, outside, otherPod, internet }) => {
    test.each([
      ['a peer inside 10.0.0.0/8', to.peer, peer],
      ['a peer outside 10.0.0.0/8', to.outside, outside],
      ["another node's pod", to.pod, otherPod],
      ['the internet', to.internet, internet],
      ['its own node', to.node, staysOnNode],
    ] as const)('a packet from a pod to %s is handled as expected', (_, destination, expected) => {
      expect(explainDump(dump, { destination })).toMatchObject(expected);
    });

    test("a packet from the node leaves with the node's address", () => {
      expect(explainDump(dump, { destination: to.peer, from: node }).source).toBe(node);
    });
  },
);

test('a cluster service is redirected to its pod and not masqueraded', () => {
  expect(explainDump('kubenet', { destination: '10.135.240.9', port: 80 })).toMatchObject(noRule);
});

test("kubenet's rule is the closest match, and the fix is a command for the node's backend", () => {
  const { reason, fix } = explainDump('kubenet', { destination: to.peer });
  expect(reason).toContain(
    'Closest match: POSTROUTING rule 2 (iptables-nft, table nat), skipped because the destination is inside 10.0.0.0/8: ',
  );
  expect(fix).toBe(
    'iptables-nft -t nat -I POSTROUTING 1 -s 10.132.0.10/32 -d 10.193.0.3/32 -m addrtype ! --dst-type LOCAL -j MASQUERADE',
  );
});

describe("the dump of a node with peermasq's rules only in nft shows that", () => {
  test.each([
    ['a peer', to.peer, masqueraded],
    ['an exempt address', '10.193.7.9', exempt],
    ['its own node', to.node, staysOnNode],
  ] as const)('a packet from a pod to %s is handled as expected', (_, destination, expected) => {
    expect(explainDump('nft', { destination })).toMatchObject(expected);
  });
});
