import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { localProject, openReachLab, region, statesOf, type ReachLab } from './reach-lab';

let lab: ReachLab;
beforeAll(async () => {
  lab = await openReachLab();
}, 60_000);
afterAll(() => lab.close());
beforeEach(() => {
  lab.reset();
});

const tunnel = (overrides = {}) => ({
  project: localProject,
  name: 'to-office',
  network: 'vpc-b',
  destRange: '10.50.0.0/16',
  nextHopVpnTunnel: 'projects/identity-nonprod/regions/europe-west1/vpnTunnels/office',
  ...overrides,
});

test("a static route needs no peering, and the network behind the route's next hop is unknown", async () => {
  lab.cloud.routes.push(tunnel());
  const checks = await lab.runChecks({ destination: '10.50.0.1' });
  expect(statesOf(checks)).toBe('not-needed ok unknown ok unknown');
  const route = 'Network identity-nonprod/vpc-b routes 10.50.0.0/16 through office (static route to-office).';
  expect(checks).toMatchObject([
    { evidence: [route] },
    { evidence: [route] },
    { evidence: ['Cannot check the network behind office; it needs a route to 10.209.0.2.'] },
    {},
    { evidence: ['Cannot check the firewalls behind office.'] },
  ]);
});

test.each<[string, (lab: ReachLab) => void, string]>([
  [
    'the longest matching prefix',
    ({ cloud }) => {
      cloud.routes.push(tunnel({ destRange: '10.0.0.0/8', priority: 1, name: 'wide' }), tunnel());
    },
    'static route to-office',
  ],
  [
    'the lower priority number',
    ({ cloud }) => {
      cloud.routes.push(tunnel({ priority: 900, name: 'better' }), tunnel());
    },
    'static route better',
  ],
  [
    'only routes that have a tag of the node',
    ({ cloud }) => {
      cloud.routes.push(
        tunnel({ tags: ['backend'], priority: 1, name: 'not-ours' }),
        tunnel({ tags: ['frontend'], name: 'ours' }),
      );
    },
    'static route ours',
  ],
  [
    'routes that a router has learned',
    ({ cloud }) => {
      cloud.routers.push({
        project: localProject,
        region,
        name: 'r1',
        network: 'vpc-b',
        bestRoutes: [{ destRange: '10.50.0.0/16', nextHopVpnTunnel: 'x/office-1', routeStatus: 'ACTIVE' }],
        bestRoutesForRouter: [],
      });
    },
    'through office-1 (learned route)',
  ],
])('a route lookup uses %s', async (_, arrange, evidence) => {
  arrange(lab);
  const check = await lab.runCheck('forward-route', { destination: '10.50.0.1' });
  expect(check).toMatchObject({ state: 'ok', evidence: [expect.stringContaining(evidence)] });
});

test('subnet routes take precedence over routes with a longer prefix', async () => {
  lab.cloud.routes.push(tunnel({ destRange: '10.193.0.0/24', priority: 0 }));
  expect(statesOf(await lab.runChecks())).toBe('ok ok ok ok ok');
});
