import { describe, expect, test } from '@jest/globals';
import { parseRuleSet } from '../../../shared/core/model/rule-set';
import { insertEvent, peeringEvent } from '../../lab/gcp/events';
import { deliverEvent, type LabFunction } from '../../lab/gcp/function';
import { callsOf, metadataOf, type InjectedErrorKind, type LabVm } from '../../lab/gcp/state';
import { FunctionHarness, project, report } from './harness';

const lab = new FunctionHarness('peeringChanged');

/**
 * Returns an event for a recent change. Routes may take ten seconds to propagate, so an earlier reconcile run cannot
 * cover a change that is less than ten seconds old.
 */
function change(method: Parameters<typeof peeringEvent>[2], secondsAgo = 9.5) {
  const event = peeringEvent(project, lab.network.name, method, 'last');
  const timestamp = new Date(Date.now() - secondsAgo * 1_000).toISOString();
  return { ...event, data: { ...(event['data'] as object), timestamp } };
}

/** Adds a node and has it proven by delivering an event. */
async function addProvenNode(changed: LabFunction): Promise<LabVm> {
  const vm = lab.addNode();
  lab.google.cloud.changes.on('change', () => {
    report(vm);
  });
  expect(await deliverEvent(changed, change('addPeering'))).toBe(204);
  return vm;
}

const destinationsOf = (vm: LabVm) =>
  parseRuleSet(metadataOf(vm, 'peermasq-ruleset') ?? '').destinations.map(({ cidr }) => cidr.text);

describe('the function peeringChanged', () => {
  test('recomputes the rule sets of all nodes, but only once for a burst of changes', async () => {
    const changed = lab.useFunction();
    const vm = await addProvenNode(changed);
    expect(destinationsOf(vm)).toEqual(['10.193.0.0/16']);
    lab.setRoutes('10.193.0.0/16', '10.194.0.0/16');
    const burst = [change('addPeering', 9), change('updatePeering', 9.1), change('removePeering', 9.2)];
    for (const event of burst) expect(await deliverEvent(changed, event)).toBe(204);
    expect(destinationsOf(vm)).toEqual(['10.193.0.0/16', '10.194.0.0/16']);
    expect(callsOf(lab.google.cloud, 'compute.instances.aggregatedList')).toBe(2);
    expect(changed.log.filter(({ message }) => message === 'PeeringChanged')).toHaveLength(4);
    expect(changed.log).toContainEqual(
      expect.objectContaining({
        message: 'EventIgnored',
        reason: 'a later reconciliation covers this change',
      }),
    );
  });

  test('keeps the current rules if a network suddenly has far fewer routes, and logs the loss', async () => {
    lab.setRoutes('10.193.0.0/16', '10.194.0.0/16', '10.195.0.0/16');
    const changed = lab.useFunction();
    const vm = await addProvenNode(changed);
    lab.setRoutes('10.193.0.0/16');
    expect(await deliverEvent(changed, change('removePeering'))).toBe(204);
    expect(destinationsOf(vm)).toEqual(['10.193.0.0/16', '10.194.0.0/15']);
    expect(changed.log).toContainEqual(
      expect.objectContaining({
        message: 'NodeHeld',
        severity: 'ERROR',
        detail: 'Found 1 route in vpc-b, down from 3. The rules in force are kept.',
      }),
    );
  });

  test.each<[string, InjectedErrorKind, number]>([
    ['fails the event so that it is redelivered while the API is unavailable', 'unavailable', 500],
    ['acknowledges the event if a permission is missing', 'permission', 204],
  ])('%s', async (_, kind, status) => {
    lab.google.cloud.injectedErrors.push({
      method: 'compute.instances.aggregatedList',
      kind,
      times: Infinity,
    });
    const changed = lab.useFunction();
    expect(await deliverEvent(changed, change('addPeering'))).toBe(status);
  });

  test('ignores an insert event, because nodeJoined handles it', async () => {
    const changed = lab.useFunction();
    expect(await deliverEvent(changed, insertEvent(lab.addNode(), 'first'))).toBe(204);
    expect(changed.log).toMatchObject([
      { message: 'EventIgnored', reason: 'another function handles nodes-joined' },
    ]);
    expect(lab.google.cloud.calls).toEqual([]);
  });
});
