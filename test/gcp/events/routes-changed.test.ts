import { describe, expect, test } from '@jest/globals';
import { parseEvent } from '../../../shared/gcp/events/parse-event';
import { changed, fixture, ignoredBecause, node } from './fixtures';

describe('the event of a route change', () => {
  test.each([
    ['network-add-peering-last', 'networks.addPeering'],
    ['network-update-peering', 'networks.updatePeering'],
    ['network-remove-peering', 'networks.removePeering'],
    ['route-insert', 'routes.insert'],
    ['router-patch', 'routers.patch'],
  ])('is handled when its operation is done: %s', (name, change) => {
    expect(parseEvent(changed(fixture(name), 'data.operation', { last: true }))).toMatchObject({
      kind: 'routes-changed',
      project: node.project,
      change,
    });
  });

  test('is ignored when its operation has only started', () => {
    expect(parseEvent(fixture('network-add-peering-first'))).toEqual(
      ignoredBecause(/^networks.addPeering has only started/),
    );
  });
});
