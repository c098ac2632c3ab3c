import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { CheckName } from '../../../shared/core/doctor/check';
import { localProject, openReachLab, peerProject, statesOf, type ReachLab } from './reach-lab';

let lab: ReachLab;
beforeAll(async () => {
  lab = await openReachLab();
}, 60_000);
afterAll(() => lab.close());
beforeEach(() => {
  lab.reset();
});

interface Denial {
  readonly method: string;
  readonly project: string;
  readonly states: string;
  /** The check whose evidence names the missing permission. */
  readonly name: CheckName;
  readonly command: string;
}

test.each<[string, Denial]>([
  [
    'the peer’s network',
    {
      method: 'compute.networks.get',
      project: peerProject,
      states: 'ok ok unknown ok ok',
      name: 'return-route',
      command: 'gcloud compute networks describe vpc-a --project backend-prod',
    },
  ],
  [
    'the peer’s routes',
    {
      method: 'compute.networks.listPeeringRoutes',
      project: peerProject,
      states: 'ok ok unknown ok ok',
      name: 'return-route',
      command:
        'gcloud compute networks peerings list-routes to-frontend --project backend-prod --network vpc-a --region europe-west1 --direction INCOMING',
    },
  ],
  [
    'the peer’s firewall rules',
    {
      method: 'compute.networks.getEffectiveFirewalls',
      project: peerProject,
      states: 'ok ok ok ok unknown',
      name: 'peer-firewall',
      command: 'gcloud compute networks get-effective-firewalls vpc-a --project backend-prod',
    },
  ],
  [
    'the node’s firewall rules',
    {
      method: 'compute.instances.getEffectiveFirewalls',
      project: localProject,
      states: 'ok ok ok unknown ok',
      name: 'node-firewall',
      command: 'gcloud compute instances network-interfaces get-effective-firewalls ',
    },
  ],
  [
    'the node’s network',
    {
      method: 'compute.networks.get',
      project: localProject,
      states: 'unknown unknown unknown ok unknown',
      name: 'peering',
      command: 'gcloud compute networks describe vpc-b --project identity-nonprod',
    },
  ],
])('without permission to read %s, the checks that need it are unknown', async (_, denial) => {
  const { method, project, states, name, command } = denial;
  lab.cloud.injectedErrors.push({ method, project, kind: 'permission', times: 99 });
  const checks = await lab.runChecks();
  expect(statesOf(checks)).toBe(states);
  const check = checks.find((one) => one.name === name);
  expect(check?.evidence.join()).toContain(`Required '${method}' permission for 'projects/${project}/`);
  expect(check?.evidence.join()).toContain('roles/compute.');
  expect(check?.fix).toContain(command);
});

test('without credentials, an error is thrown', async () => {
  const { token } = lab.cloud;
  lab.cloud.token = 'another';
  await expect(lab.runChecks()).rejects.toMatchObject({ code: 'no-credentials' });
  lab.cloud.token = token;
});
