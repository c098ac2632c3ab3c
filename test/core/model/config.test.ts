import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import * as z from 'zod';
import { clusterConfig, ConfigError, parseConfig } from '../../../shared/core/model/config';
import { configSchema } from '../../../shared/core/model/config-schema';

const example = `clusters:
  frontend-cluster:
    pods: [10.132.0.0/14]
    services: [10.135.240.0/20]
    masquerade:
      - peerings
      - vpn
      - cidr: 10.193.0.0/16
        name: backend-vpc
      - cidr: 10.64.0.0/16
      - cidr: 10.65.0.0/16
        even-if-routed: true
    except: [10.193.7.0/24]
    probe: [10.193.0.3:32191]
    out: eth0
    random-fully: true
  "*":
    masquerade: [peerings]
`;

function errorsOf(text: string): string[] {
  try {
    parseConfig(text);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.errors.map(({ line, column, path, message }) => `${line}:${column} ${path}: ${message}`);
  }
  return [];
}

test('parseConfig parses a full entry, and fills in defaults', () => {
  const config = parseConfig(example);
  const [frontend, any] = config.clusters;
  expect(frontend).toMatchObject({
    name: 'frontend-cluster',
    pods: [{ text: '10.132.0.0/14' }],
    masquerade: [
      'peerings',
      'vpn',
      { cidr: { text: '10.193.0.0/16' }, name: 'backend-vpc' },
      { cidr: { text: '10.64.0.0/16' }, name: '10.64.0.0/16', evenIfRouted: false },
      { cidr: { text: '10.65.0.0/16' }, name: '10.65.0.0/16', evenIfRouted: true },
    ],
    probe: [{ address: { text: '10.193.0.3' }, port: 32191 }],
    out: 'eth0',
    randomFully: true,
  });
  expect(any).toEqual({
    name: '*',
    pods: [],
    services: [],
    masquerade: ['peerings'],
    except: [],
    probe: [],
    randomFully: false,
    controlPlane: true,
  });
});

test('a cluster has the entry with its name, or else the entry "*"', () => {
  const config = parseConfig(example);
  expect(clusterConfig(config, 'frontend-cluster')?.name).toBe('frontend-cluster');
  expect(clusterConfig(config, 'another')?.name).toBe('*');
  expect(clusterConfig(parseConfig('clusters: {one: {}}'), 'another')).toBeUndefined();
});

test('parseConfig reports all errors together, with line, column, path, value and what is expected', () => {
  const errors = errorsOf(`clusters:
  frontend-cluster:
    pods: [10.132.0.1/14, 300.0.0.0/8, 7]
    service: [10.135.240.0/20]
    masquerade:
      - peering
      - cidr: 10.193.0.0/16
        name: back end
      - cidr: 0.0.0.0/0
      - nam: x
      - null
    except: 10.193.7.0/24
    probe: [10.193.0.3]
    out: eth0; reboot
    random-fully: yes please
  "we!rd": {}
  empty:
`);
  expect(errors).toEqual([
    '3:12 clusters.frontend-cluster.pods[0]: invalid CIDR "10.132.0.1/14": it has host bits set; the network is 10.132.0.0/14',
    '3:27 clusters.frontend-cluster.pods[1]: invalid CIDR "300.0.0.0/8": expected an IPv4 or IPv6 address before the slash',
    '3:40 clusters.frontend-cluster.pods[2]: invalid value 7: expected a CIDR, such as 10.193.7.0/24',
    '4:14 clusters.frontend-cluster.service: unknown setting',
    '6:9 clusters.frontend-cluster.masquerade[0]: invalid value "peering": expected peerings, peering-transit, vpn, transit-gateways, or {cidr, name}',
    '8:15 clusters.frontend-cluster.masquerade[1].name: invalid value "back end": expected 1 to 63 letters, digits or . _ : / @ - (the name becomes the comment of a rule)',
    '9:15 clusters.frontend-cluster.masquerade[2].cidr: "0.0.0.0/0" is not allowed: it contains every address',
    '10:9 clusters.frontend-cluster.masquerade[3].cidr: missing value: expected a CIDR, such as 10.193.0.0/16',
    '10:14 clusters.frontend-cluster.masquerade[3].nam: unknown setting',
    '11:9 clusters.frontend-cluster.masquerade[4]: invalid value null: expected peerings, peering-transit, vpn, transit-gateways, or {cidr, name}',
    '12:13 clusters.frontend-cluster.except: invalid value "10.193.7.0/24": expected a list, such as [a, b]',
    '13:13 clusters.frontend-cluster.probe[0]: invalid probe "10.193.0.3": expected ADDRESS:PORT, such as 10.193.0.3:5432 or [fd00::1]:5432',
    '14:10 clusters.frontend-cluster.out: invalid value "eth0; reboot": expected an interface name, such as eth0',
    '15:19 clusters.frontend-cluster.random-fully: invalid value "yes please": expected true or false',
    '16:12 clusters.we!rd: invalid value "we!rd": expected a cluster name as in the tags or labels of its nodes, or "*"',
    '17:9 clusters.empty: invalid value null: expected cluster settings, or {} for the defaults',
  ]);
});

test('parseConfig reports other errors in addition to a duplicate key', () => {
  expect(errorsOf('clusters:\n  a: {podz: []}\n  a: {out: eth0}\n  b: {probe: 7}\n')).toEqual([
    '3:3 YAML: Map keys must be unique',
    '4:14 clusters.b.probe: invalid value 7: expected a list, such as [a, b]',
  ]);
});

describe('a destination in the config', () => {
  test.each([
    ['127.0.0.0/8', 'loopback'],
    ['169.254.169.254/32', 'link-local, used by metadata servers'],
    ['128.0.0.0/1', 'contains 169.254.0.0/16 (link-local'],
    ['0.0.0.0/1', 'contains 0.0.0.0/8 (this host)'],
    ['239.1.0.0/16', 'multicast'],
    ['255.255.255.255/32', 'reserved and broadcast'],
    ['::1/128', 'loopback'],
    ['fe80::/64', 'link-local'],
    ['fd00:ec2::254/128', 'is inside fd00:ec2::254/128 (EC2 instance metadata)'],
    ['fd00:ec2::23/128', 'EKS Pod Identity'],
    ['fd20:ce::254/128', 'Google Cloud metadata server'],
    ['::/0', 'contains every address'],
    ['10.132.7.0/24', 'is inside 10.132.0.0/14'],
    ['10.196.1.0/24', 'is inside 10.196.0.0/20'],
  ])('is rejected if it is %s: %s', (cidr, message) => {
    const [error, ...others] = errorsOf(
      `clusters: {a: {pods: [10.132.0.0/14], services: [10.196.0.0/20], masquerade: [{cidr: '${cidr}'}]}}`,
    );
    expect(error).toContain(message);
    expect(others).toEqual([]);
  });

  test('is rejected inside pods or services, even with even-if-routed', () => {
    const entry = "{cidr: '10.132.7.0/24', even-if-routed: true}";
    expect(errorsOf(`clusters: {a: {pods: [10.132.0.0/14], masquerade: [${entry}]}}`)[0]).toContain(
      'is inside 10.132.0.0/14',
    );
  });

  test('that is inside the pod range is reported together with the other errors', () => {
    expect(
      errorsOf('clusters: {a: {pods: [10.132.0.0/14], masquerade: [{cidr: 10.132.0.0/16}], out: "a b"}}'),
    ).toHaveLength(2);
  });

  test('that contains IPv6 metadata servers is accepted, because the plan exempts the metadata servers', () => {
    expect(errorsOf("clusters: {a: {masquerade: [{cidr: 'fc00::/7'}, {cidr: 'fd00:ec2::/32'}]}}")).toEqual(
      [],
    );
  });

  test('that contains the pods is accepted, because the plan exempts the pods', () => {
    expect(errorsOf('clusters: {a: {pods: [10.132.0.0/14], masquerade: [{cidr: 10.0.0.0/8}]}}')).toEqual([]);
  });
});

test('parseConfig rejects an exemption that contains every address, but accepts pods in a reserved range', () => {
  expect(errorsOf('clusters: {a: {except: [0.0.0.0/0]}}')[0]).toContain('contains every address');
  expect(errorsOf('clusters: {a: {pods: [240.0.0.0/8]}}')).toEqual([]);
});

describe('a probe in the config', () => {
  test.each([
    ['127.0.0.1:10250', 'is in 127.0.0.0/8 (loopback), which is never masqueraded'],
    ['169.254.169.254:80', 'is in 169.254.0.0/16 (link-local'],
    ['[fd00:ec2::254]:80', 'is in fd00:ec2::254/128 (EC2 instance metadata)'],
    ['10.132.7.1:80', 'is in 10.132.0.0/14, a pod or service range of the cluster'],
    ['10.196.1.1:80', 'is in 10.196.0.0/20, a pod or service range of the cluster'],
    ['10.193.7.1:80', 'is in 10.193.7.0/24, a range in the except list'],
    ['10.194.0.1:80', 'is in none of the ranges to masquerade: add its range as a cidr entry'],
  ])('is rejected if it is %s, because it %s', (probe, message) => {
    const settings =
      "pods: [10.132.0.0/14], services: [10.196.0.0/20], except: [10.193.7.0/24], masquerade: [{cidr: 10.193.0.0/16}, {cidr: 'fc00::/7'}]";
    expect(errorsOf(`clusters:\n  a: {${settings},\n      probe: [10.193.0.3:5432, '${probe}']}`)).toEqual([
      expect.stringMatching(/^3:32 clusters\.a\.probe\[1\]: probe /),
    ]);
    expect(errorsOf(`clusters: {a: {${settings}, probe: ['${probe}']}}`)[0]).toContain(message);
  });

  test('is accepted if its range may be discovered later, and the plan checks it', () => {
    expect(errorsOf('clusters: {a: {masquerade: [peerings], probe: [10.193.0.3:5432]}}')).toEqual([]);
    expect(errorsOf('clusters: {a: {masquerade: [peerings], probe: [127.0.0.1:80]}}')).toHaveLength(1);
  });

  test('is not reported as an error if its range is itself invalid', () => {
    const settings = 'masquerade: [{cidr: 10.193.0.1/16}], probe: [10.193.0.3:5432]';
    expect(errorsOf(`clusters: {a: {${settings}}}`)).toEqual([expect.stringContaining('host bits')]);
  });
});

describe('parseConfig', () => {
  test.each([
    ['', '1:1 (root): invalid value null: expected a mapping with the key "clusters"'],
    ['clusters: 5', '1:11 clusters: invalid value 5: expected clusters by name'],
    ['cluster: {}', '1:1 clusters: missing value: expected clusters by name'],
    ['a: [\n', '2:1 YAML: Flow sequence in block collection must be sufficiently indented and end with a ]'],
    ['clusters: {}\nclusters: {}', '2:1 YAML: Map keys must be unique'],
    ['clusters: *unknown', '1:1 YAML: Unresolved alias (the anchor must be set before the alias): unknown'],
  ])('rejects text that is not a config: %j', (text, error) => {
    expect(errorsOf(text)[0]).toBe(error);
  });

  test('limits the expansion of aliases', () => {
    const bomb = [
      'a: &a [x, x, x, x, x, x, x, x]',
      'b: &b [*a, *a, *a, *a, *a, *a, *a, *a]',
      'c: &c [*b, *b, *b, *b, *b, *b, *b, *b]',
      'd: [*c, *c, *c, *c]',
      'clusters: {}',
    ];
    expect(errorsOf(bomb.join('\n'))[0]).toContain('Excessive alias count');
  });
});

test('the published JSON Schema is the schema that parseConfig enforces', () => {
  const published: unknown = JSON.parse(readFileSync('docs/peermasq.schema.json', 'utf8'));
  expect(published).toEqual(z.toJSONSchema(configSchema, { io: 'input' }));
});
