import { describe, expect, test } from '@jest/globals';
import {
  addNode,
  apiCall,
  aws,
  deploy,
  logged,
  metric,
  routeTo,
  drained,
  stack,
  statusOf,
  until,
} from './deployed';

describe('the function peering-changed', () => {
  const table = () => aws.state.routeTables[0] ?? fail();
  const rulesOf = async (): Promise<string> => {
    const { response } = await stack.invoke('backfill', { dryRun: true });
    return JSON.stringify(response);
  };

  test('pushes the new rule set only to the affected nodes after a route change', async () => {
    deploy();
    const ids = [addNode(), addNode({ cluster: 'other' })];
    await stack.invoke('sweep', {});
    table().routes.push(routeTo('10.7.0.0/16'));
    stack.put(apiCall('CreateRoute'));
    stack.put(apiCall('CreateRoute'));
    await drained();
    expect(logged('PeeringChanged')).toHaveLength(2);
    expect(aws.count('SendCommand')).toBe(2);
    expect(statusOf(ids[0] ?? '')).toMatch(/routes=2 format=2$/);
    expect(statusOf(ids[1] ?? '')).toBeUndefined();
  });

  test('keeps the old rules and raises an alert after a large loss of routes, until a backfill allows the loss', async () => {
    deploy();
    table().routes.push(routeTo('10.7.0.0/16'), routeTo('10.9.0.0/16'));
    const id = addNode();
    await stack.invoke('sweep', {});
    table().routes.splice(1);
    stack.put(apiCall('DeleteRoute'));
    await drained();
    expect(logged('NodeHeld')).toMatchObject([{ node: id, severity: 'ERROR' }]);
    expect(metric('NodesHeld')).toEqual([1]);
    expect(aws.count('SendCommand')).toBe(1);
    await stack.invoke('backfill', { allowRouteLoss: true });
    expect(aws.count('SendCommand')).toBe(2);
    expect(statusOf(id)).toMatch(/^proven \S+ routes=1 format=2$/);
    expect(await rulesOf()).toContain('"isChange":false');
  });

  test('retries while a peering is provisioning, until the peering is active', async () => {
    deploy();
    const id = addNode();
    const added = 'pcx-0fedcba9876543210';
    await stack.invoke('sweep', {});
    aws.state.peerings.push({ vpcPeeringConnectionId: added, status: 'provisioning' });
    table().routes.push({ destinationCidrBlock: '10.7.0.0/16', vpcPeeringConnectionId: added });
    stack.put(apiCall('AcceptVpcPeeringConnection'));
    await until(() => aws.count('ChangeMessageVisibilityBatch') > 0);
    aws.state.peerings.splice(1, 1, { vpcPeeringConnectionId: added, status: 'active' });
    await drained();
    expect(statusOf(id)).toMatch(/routes=2 format=2$/);
    expect(stack.deadLetters).toEqual([]);
  });
});

function fail(): never {
  throw new Error('There is no route table');
}
