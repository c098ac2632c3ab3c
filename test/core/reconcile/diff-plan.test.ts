import { expect, test } from '@jest/globals';
import { parseCidr } from '../../../shared/core/model/cidr';
import { diffPlan } from '../../../shared/core/reconcile/diff-plan';
import type { Route } from '../../../shared/core/model/node';
import type { DestinationRequest } from '../../../shared/core/masquerading/requests';
import type { Plan } from '../../../shared/core/reconcile/plan';
import { ruleSetId } from '../../../shared/core/model/rule-set';
import { ruleSetOf } from '../model/rule-sets';

const ruleSet = ruleSetOf('source 10.132.0.0/14', 'masquerade 10.193.0.0/16 to-backend');
const route: Route = { kind: 'peerings', via: 'to-backend', destination: '10.193.0.0/16', state: 'active' };
const request = (from: DestinationRequest['from']): DestinationRequest => ({
  cidr: parseCidr('10.193.0.0/16'),
  name: 'to-backend',
  from,
});

const planned: Extract<Plan, { kind: 'rule-set' }> = {
  kind: 'rule-set',
  ruleSet,
  id: ruleSetId(ruleSet),
  routes: 1,
  provenance: [
    { cidr: parseCidr('10.193.0.0/16'), from: [request(route), request(route), request('config')] },
  ],
  warnings: [],
};

const from = [
  'peerings: route to 10.193.0.0/16 through to-backend',
  'peermasq.yaml: 10.193.0.0/16 to-backend',
];

test('on a node without rules, every line is new and each destination has its origins', () => {
  expect(diffPlan(planned, undefined)).toEqual([
    { sign: '+', text: 'source 10.132.0.0/14' },
    { sign: '+', text: 'masquerade 10.193.0.0/16 to-backend', from },
  ]);
});

test('a diff marks added, removed and unchanged lines', () => {
  const before = ruleSetOf('source 10.132.0.0/14', 'masquerade 10.99.0.0/16 gone');
  expect(diffPlan(planned, before)).toEqual([
    { sign: ' ', text: 'source 10.132.0.0/14' },
    { sign: '-', text: 'masquerade 10.99.0.0/16 gone' },
    { sign: '+', text: 'masquerade 10.193.0.0/16 to-backend', from },
  ]);
});

test('a different generation is not a change', () => {
  const lines = diffPlan(planned, { ...ruleSet, generation: 1 });
  expect(lines.filter(({ sign }) => sign !== ' ')).toEqual([]);
});
