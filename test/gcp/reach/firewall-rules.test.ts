import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Check } from '../../../shared/core/doctor/check';
import {
  addVm,
  networkUrl,
  subnetworkUrl,
  type LabFirewall,
  type LabFirewallPolicy,
} from '../../lab/gcp/state';
import {
  allowFrontend,
  localProject,
  openReachLab,
  peerProject,
  region,
  statesOf,
  type ReachLab,
} from './reach-lab';

let lab: ReachLab;
beforeAll(async () => {
  lab = await openReachLab();
}, 60_000);
afterAll(() => lab.close());
beforeEach(() => {
  lab.reset();
});

const database = '10.193.0.7';

const addDatabase = () =>
  addVm(lab.cloud, {
    name: 'database',
    project: peerProject,
    tags: ['db'],
    serviceAccounts: [{ email: 'db@backend-prod.iam.gserviceaccount.com' }],
    networkInterfaces: [
      {
        network: networkUrl(peerProject, 'vpc-a'),
        subnetwork: subnetworkUrl(peerProject, region, 'vpc-a'),
        networkIP: database,
      },
    ],
  });

const allow = (overrides: Partial<LabFirewall> = {}): LabFirewall => ({
  ...allowFrontend,
  name: 'another',
  ...overrides,
});

const deny = (overrides: Partial<LabFirewall> = {}): LabFirewall => {
  const { allowed, ...rest } = allowFrontend;
  return { ...rest, name: 'deny', denied: allowed ?? [], ...overrides };
};

describe('the VPC firewall rules of an instance:', () => {
  test.each<[string, LabFirewall[], Check['state']]>([
    ['at equal priority a deny rule wins', [allow(), deny()], 'broken'],
    ['the lower priority number wins', [allow({ priority: 10 }), deny({ priority: 20 })], 'ok'],
    ['disabled rules are ignored', [allow(), deny({ priority: 1, disabled: true })], 'ok'],
    ["a rule for the instance's tag applies", [allow({ targetTags: ['db'] })], 'ok'],
    ['a rule for another tag does not apply', [allow({ targetTags: ['web'] })], 'broken'],
    [
      "a rule for the instance's service account applies",
      [allow({ targetServiceAccounts: ['db@backend-prod.iam.gserviceaccount.com'] })],
      'ok',
    ],
    [
      'a rule for other ports does not match',
      [allow({ allowed: [{ IPProtocol: 'tcp', ports: ['80', '443'] }] })],
      'broken',
    ],
    ['a rule for another protocol does not match', [allow({ allowed: [{ IPProtocol: 'udp' }] })], 'broken'],
    ['a rule for protocol number 6 matches TCP', [allow({ allowed: [{ IPProtocol: '6' }] })], 'ok'],
    ['a rule for other sources does not match', [allow({ sourceRanges: ['10.132.0.0/14'] })], 'broken'],
    [
      'a source tag does not match across a peering',
      [allow({ sourceRanges: [], sourceTags: ['frontend'] })],
      'broken',
    ],
    [
      'a rule for other destinations does not match',
      [allow({ destinationRanges: ['10.193.9.0/24'] })],
      'broken',
    ],
    [
      'a rule for the opposite direction does not match',
      [allow({ direction: 'EGRESS', sourceRanges: [] })],
      'broken',
    ],
  ])('%s', async (_, rules, state) => {
    addDatabase();
    lab.cloud.firewalls = rules;
    const check = await lab.runCheck('peer-firewall', { destination: database });
    expect(check.state).toBe(state);
    expect(check.evidence).toContain('10.193.0.7 belongs to instance database of project backend-prod.');
  });
});

type PolicyRule = LabFirewallPolicy['rules'][number];

const policyOf = (...rules: readonly Omit<PolicyRule, 'direction'>[]): LabFirewallPolicy => ({
  type: 'HIERARCHY',
  name: '123456789012',
  shortName: 'org-rules',
  rules: rules.map((rule) => ({ direction: 'INGRESS', ...rule })),
});

/** Returns a policy with one rule for all internal sources. */
const policy = (rule: Partial<PolicyRule> & Pick<PolicyRule, 'action'>): LabFirewallPolicy =>
  policyOf({
    priority: 100,
    match: { srcIpRanges: ['10.0.0.0/8'], layer4Configs: [{ ipProtocol: 'all' }] },
    ...rule,
  });

const delegateFor = (domain: string, priority = 100) => ({
  priority,
  action: 'goto_next' as const,
  match: { srcFqdns: [domain], layer4Configs: [] },
});

describe('firewall policies:', () => {
  const tcp = [{ ipProtocol: 'tcp' }];

  test.each<[string, LabFirewallPolicy[], Check['state']]>([
    ['an allow rule ends the evaluation', [policy({ action: 'allow' })], 'ok'],
    ['goto_next delegates to the next tier', [policy({ action: 'goto_next' })], 'broken'],
    ['disabled rules are ignored', [policy({ action: 'allow', disabled: true })], 'broken'],
    [
      'rules for proxy-based load balancers are ignored',
      [policy({ action: 'allow', targetType: 'INTERNAL_MANAGED_LB' })],
      'broken',
    ],
    [
      'rules for internet sources do not match internal addresses',
      [policy({ action: 'allow', match: { srcNetworkType: 'INTERNET', layer4Configs: tcp } })],
      'broken',
    ],
    [
      'a rule with a domain name makes the result unknown',
      [policy({ action: 'allow', match: { srcFqdns: ['a.example'], layer4Configs: tcp } })],
      'unknown',
    ],
    [
      'an allow rule makes the result unknown if it follows a goto_next rule with a domain name',
      [policyOf(delegateFor('a.example'), { priority: 200, action: 'allow', match: { layer4Configs: [] } })],
      'unknown',
    ],
    [
      'packet inspection makes the result unknown',
      [policy({ action: 'apply_security_profile_group' })],
      'unknown',
    ],
    [
      'a network policy is evaluated after VPC firewall rules',
      [{ ...policy({ action: 'allow' }), type: 'NETWORK' }],
      'ok',
    ],
    [
      'a folder policy is evaluated after the organisation policy',
      [policy({ action: 'goto_next' }), policy({ action: 'allow' })],
      'ok',
    ],
  ])('%s', async (_, policies, state) => {
    addDatabase();
    lab.cloud.firewalls = [];
    lab.peer.firewallPolicies = policies;
    const check = await lab.runCheck('peer-firewall', { destination: database });
    expect(check.state).toBe(state);
  });

  test('the evidence names the criteria that cannot be checked', async () => {
    addDatabase();
    lab.cloud.firewalls = [];
    lab.peer.firewallPolicies = [
      policy({ action: 'allow', match: { srcFqdns: ['a.example'], layer4Configs: tcp } }),
    ];
    const { evidence } = await lab.runCheck('peer-firewall', { destination: database });
    expect(evidence).toContain(
      'Rule 100 of firewall policy org-rules (HIERARCHY) allows ingress tcp:32191 from 10.209.0.2; could not check whether a domain name matches 10.209.0.2.',
    );
  });

  test('thousands of delegations are evaluated only once, and the evidence is truncated', async () => {
    addDatabase();
    const delegations = Array.from({ length: 100 }, (_, i) => delegateFor(`${i}.example`, i));
    const denials = delegations.map((rule) => ({
      ...rule,
      action: 'deny' as const,
      priority: rule.priority + 1_000,
    }));
    lab.peer.firewallPolicies = Array.from({ length: 8 }, () => policyOf(...delegations, ...denials));
    const { state, evidence } = await lab.runCheck('peer-firewall', { destination: database });
    expect(state).toBe('unknown');
    expect(evidence.length).toBeLessThan(20);
    expect(evidence.at(-1)).toMatch(/^\d+ more rules may apply\.$/);
  });
});

describe('the firewall rules of a network', () => {
  test('name the instances to which they apply if the destination is behind a load balancer', async () => {
    lab.cloud.firewalls = [allow({ targetTags: ['gke-backend'] })];
    const { state, evidence } = await lab.runCheck('peer-firewall');
    expect(state).toBe('ok');
    expect(evidence).toContain(
      'VPC firewall rule another (priority 1000) of network backend-prod/vpc-a allows ingress tcp:32191 from 10.209.0.2, for instances with tag gke-backend.',
    );
  });

  test('are unknown for a destination behind a load balancer if they deny some of its instances', async () => {
    lab.cloud.firewalls = [allow(), deny({ targetTags: ['gke-backend'], priority: 1 })];
    expect(await lab.runCheck('peer-firewall')).toMatchObject({ state: 'unknown' });
  });

  test('are checked even if no known instance has the destination address', async () => {
    expect(await lab.runCheck('peer-firewall', { destination: '10.193.0.99' })).toMatchObject({
      state: 'ok',
      evidence: [
        'No instance or forwarding rule in project backend-prod has 10.193.0.99; it may be in another project.',
        expect.stringContaining('allow-frontend'),
      ],
    });
  });

  test('match source tags within the network', async () => {
    lab.cloud.firewalls = [
      {
        ...allowFrontend,
        project: localProject,
        network: 'vpc-b',
        sourceRanges: [],
        sourceTags: ['frontend'],
      },
    ];
    const checks = await lab.runChecks({ destination: '10.209.0.99' });
    expect(statesOf(checks)).toBe('not-needed ok ok ok ok');
  });
});
