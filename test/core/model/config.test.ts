import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import * as z from 'zod';
import { clusterConfig, ConfigError, configSchema, parseConfig } from '../../../shared/core/model/config';

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

test('a full entry is read, with defaults where it is silent', () => {
  const config = parseConfig(example);
  const [frontend, any] = config.clusters;
  expect(frontend).toMatchObject({
    name: 'frontend-cluster',
    pods: [{ text: '10.132.0.0/14' }],
    masquerade: [
      'peerings',
      'vpn',
      { cidr: { text: '10.193.0.0/16' }, name: 'backend-vpc' },
      { cidr: { text: '10.64.0.0/16' }, name: '10.64.0.0/16' },
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

test('a cluster gets its own entry, else that of "*", else none', () => {
  const config = parseConfig(example);
  expect(clusterConfig(config, 'frontend-cluster')?.name).toBe('frontend-cluster');
  expect(clusterConfig(config, 'another')?.name).toBe('*');
  expect(clusterConfig(parseConfig('clusters: {one: {}}'), 'another')).toBeUndefined();
});

test('every fault is reported at once, with its line, what was read and what is accepted', () => {
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
    '3:12 clusters.frontend-cluster.pods[0]: "10.132.0.1/14" has host bits set; the range it lies in is 10.132.0.0/14',
    '3:27 clusters.frontend-cluster.pods[1]: "300.0.0.0/8" does not start with an IPv4 or IPv6 address',
    '3:40 clusters.frontend-cluster.pods[2]: read 7; accepted is a CIDR, such as 10.193.7.0/24',
    '4:14 clusters.frontend-cluster.service: is not a setting; is it misspelt?',
    '6:9 clusters.frontend-cluster.masquerade[0]: read "peering"; accepted are peerings, vpn, transit-gateways, or {cidr, name}',
    '8:15 clusters.frontend-cluster.masquerade[1].name: read "back end"; accepted are 1 to 63 letters, digits and . _ : / @ - (it becomes the comment of a rule)',
    '9:15 clusters.frontend-cluster.masquerade[2].cidr: "0.0.0.0/0" is refused: it holds every address there is',
    '10:9 clusters.frontend-cluster.masquerade[3].cidr: read nothing; accepted is a CIDR, such as 10.193.0.0/16',
    '10:14 clusters.frontend-cluster.masquerade[3].nam: is not a setting; is it misspelt?',
    '11:9 clusters.frontend-cluster.masquerade[4]: read null; accepted are peerings, vpn, transit-gateways, or {cidr, name}',
    '12:13 clusters.frontend-cluster.except: read "10.193.7.0/24"; accepted is a list, such as [a, b]',
    '13:13 clusters.frontend-cluster.probe[0]: "10.193.0.3" is not a probe; write ADDRESS:PORT, such as 10.193.0.3:5432 or [fd00::1]:5432',
    '14:10 clusters.frontend-cluster.out: read "eth0; reboot"; accepted is an interface name, such as eth0',
    '15:19 clusters.frontend-cluster.random-fully: read "yes please"; accepted is true or false',
    '16:12 clusters.we!rd: read "we!rd"; accepted is a cluster\'s name as its nodes carry it, or "*"',
    '17:9 clusters.empty: read null; accepted are the settings of a cluster; write {} for none',
  ]);
});

test('a key that stands twice does not hide the other faults', () => {
  expect(errorsOf('clusters:\n  a: {podz: []}\n  a: {out: eth0}\n  b: {probe: 7}\n')).toEqual([
    '3:3 YAML: Map keys must be unique',
    '4:14 clusters.b.probe: read 7; accepted is a list, such as [a, b]',
  ]);
});

describe('destinations that no rule may have', () => {
  test.each([
    ['127.0.0.0/8', 'loopback'],
    ['169.254.169.254/32', 'link-local, where metadata servers answer'],
    ['128.0.0.0/1', 'holds 169.254.0.0/16, link-local'],
    ['0.0.0.0/1', '0.0.0.0/8, this host'],
    ['239.1.0.0/16', 'multicast'],
    ['255.255.255.255/32', 'reserved and broadcast'],
    ['::1/128', 'loopback'],
    ['fe80::/64', 'link-local'],
    ['::/0', 'every address there is'],
    ['10.132.7.0/24', 'lies inside 10.132.0.0/14'],
    ['10.196.1.0/24', 'lies inside 10.196.0.0/20'],
  ])('%s: %s', (cidr, message) => {
    const [error, ...others] = errorsOf(
      `clusters: {a: {pods: [10.132.0.0/14], services: [10.196.0.0/20], masquerade: [{cidr: '${cidr}'}]}}`,
    );
    expect(error).toContain(message);
    expect(others).toEqual([]);
  });

  test('every address is no exemption, and pods may be anywhere', () => {
    expect(errorsOf('clusters: {a: {except: [0.0.0.0/0]}}')[0]).toContain('holds every address there is');
    expect(errorsOf('clusters: {a: {pods: [240.0.0.0/8]}}')).toEqual([]);
  });

  test('one inside the pods is reported beside faults elsewhere', () => {
    expect(
      errorsOf('clusters: {a: {pods: [10.132.0.0/14], masquerade: [{cidr: 10.132.0.0/16}], out: "a b"}}'),
    ).toHaveLength(2);
  });

  test('a wider one is accepted: the plan exempts the pods', () => {
    expect(errorsOf('clusters: {a: {pods: [10.132.0.0/14], masquerade: [{cidr: 10.0.0.0/8}]}}')).toEqual([]);
  });
});

describe('text that is no config at all', () => {
  test.each([
    ['', '1:1 the file: read null; accepted is a file that starts with "clusters:"'],
    ['clusters: 5', '1:11 clusters: read 5; accepted are clusters by name'],
    ['cluster: {}', '1:1 clusters: read nothing; accepted are clusters by name'],
    ['a: [\n', '2:1 YAML: Flow sequence in block collection must be sufficiently indented and end with a ]'],
    ['clusters: {}\nclusters: {}', '2:1 YAML: Map keys must be unique'],
    ['clusters: *unknown', '1:1 YAML: Unresolved alias (the anchor must be set before the alias): unknown'],
  ])('%j', (text, error) => {
    expect(errorsOf(text)[0]).toBe(error);
  });

  test('aliases cannot be made to grow without bound', () => {
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

test('the published JSON Schema is the one that is enforced', () => {
  const published: unknown = JSON.parse(readFileSync('docs/peermasq.schema.json', 'utf8'));
  expect(published).toEqual(z.toJSONSchema(configSchema, { io: 'input' }));
});
