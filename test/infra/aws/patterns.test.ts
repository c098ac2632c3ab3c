import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { subscriptions } from '../../../infra/aws/patterns';
import { matches } from './matches';

type Json = Record<string, unknown>;

const fixture = (name: string): Json =>
  JSON.parse(readFileSync(join(__dirname, '../../events/aws', `${name}.json`), 'utf8')) as Json;

const started = fixture('run-instances');

/** A call of the EC2 API, as CloudTrail tells it. */
const call = (eventName: string, detail: Json = {}): Json => ({
  ...started,
  detail: { ...(started['detail'] as Json), eventName, ...detail },
});

const heardBy = (event: Json) =>
  subscriptions.filter(({ pattern }) => matches(pattern, event)).map(({ name }) => name);

describe('an event is heard by one rule', () => {
  test.each([
    ['an instance is running', fixture('state-change-running'), 'instance-running'],
    ['instances were started', started, 'instances-started'],
  ])('%s', (_, event, rule) => {
    expect(heardBy(event)).toEqual([rule]);
  });
});

describe('an event goes nowhere', () => {
  test.each([
    ['an instance has stopped', fixture('state-change-stopped')],
    ['RunInstances was refused', fixture('run-instances-refused')],
    ['RunInstances was a dry run', fixture('run-instances-dry-run')],
    ['a call that starts no node', call('CreateTags')],
    ['a call of another service', call('RunInstances', { eventSource: 'lightsail.amazonaws.com' })],
    ['an event of an application', { ...fixture('state-change-running'), source: 'my.app' }],
  ])('%s', (_, event) => {
    expect(heardBy(event)).toEqual([]);
  });
});
