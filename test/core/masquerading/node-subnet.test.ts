import { expect, test } from '@jest/globals';
import { decide } from '../../../shared/core/masquerading/decide';
import { parseAddress, parseCidr } from '../../../shared/core/model/cidr';
import { parseConfig } from '../../../shared/core/model/config';
import type { Route } from '../../../shared/core/model/node';

const route = (destination: string, changes: Partial<Route> = {}): Route => ({
  kind: 'transit-gateways',
  via: 'tgw-1',
  destination,
  state: 'active',
  ...changes,
});
const onlyInSubnets = ['subnet-a', 'subnet-b'];

const decideFor = (pods: string, destination: string) => {
  const text = `clusters: {shop: {pods: [${pods}], masquerade: [transit-gateways, {cidr: 10.64.1.0/24, name: hq}]}}`;
  const [cluster] = parseConfig(text).clusters;
  if (!cluster) throw new Error('no cluster');
  return decide({
    cluster,
    networkContext: {
      network: 'vpc-1',
      networkRanges: ['10.0.0.0/16', '100.64.0.0/16'].map(parseCidr),
      podRanges: [],
      routedPodRanges: [],
      routes: [
        route('172.16.0.0/12'),
        route('172.20.0.0/16', { onlyInSubnets }),
        route('172.20.7.0/24'),
        route('10.64.0.0/16', { onlyInSubnets }),
      ],
      discoveredKinds: ['transit-gateways'],
    },
    source: 'any-pod',
    destination: parseAddress(destination),
  });
};

test.each([
  ['172.16.0.1', 'requested-route'],
  ['172.20.0.1', 'not-in-node-subnet'],
  ['172.20.7.1', 'requested-route'],
  ['10.64.0.1', 'not-in-node-subnet'],
  ['10.64.1.1', 'configured-range'],
])('a connection from a pod with a VPC address to %s has the decision %s', (destination, code) => {
  expect(decideFor('100.64.0.0/16', destination)).toMatchObject({ code });
});

test.each(['172.20.0.1', '10.64.0.1'])(
  'a connection from a pod in an overlay network to %s has the decision requested-route',
  (destination) => {
    expect(decideFor('192.168.0.0/16', destination)).toMatchObject({ code: 'requested-route' });
  },
);

test('an unknown decision says which missing information would settle it', () => {
  expect(decideFor('100.64.0.0/16', '10.64.0.1')).toMatchObject({
    verdict: 'unknown',
    evidence: [
      expect.stringContaining('The route to 10.64.0.0/16 through tgw-1 exists only in subnet-a, subnet-b,'),
    ],
    resolvedBy: 'whether the network of 10.64.0.1 has a route to the pods',
  });
});
