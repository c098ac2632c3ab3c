import { describe, expect, test } from '@jest/globals';
import { routeCalls } from '../../../shared/aws/events/routes-changed';
import { detailOf, fixture, location, parseOther } from './fixtures';

const names = [
  'create-vpc-peering-connection',
  'accept-vpc-peering-connection',
  'delete-vpc-peering-connection',
  'create-route',
  'replace-route',
  'delete-route',
  'associate-route-table',
  'disassociate-route-table',
  'replace-route-table-association',
];

describe('the event for an API call that changes routes', () => {
  test.each(names)('is handled: %s', (name) => {
    const event = fixture(name);
    expect(parseOther(event)).toEqual({
      kind: 'routes-changed',
      change: detailOf(event)['eventName'],
      account: location.account,
      at: new Date('2023-07-19T21:17:28Z'),
    });
  });

  test('has a recorded example for every API call that is handled', () => {
    expect(names.map((name) => detailOf(fixture(name))['eventName'])).toEqual(routeCalls);
  });

  test('is ignored when the API call was refused', () => {
    expect(parseOther(fixture('create-route-refused'))).toEqual({
      kind: 'ignored',
      reason: 'CreateRoute failed: Client.UnauthorizedOperation',
    });
  });
});
