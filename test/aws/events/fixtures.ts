import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEvent } from '../../../shared/aws/events/parse-event';

export type Json = Record<string, unknown>;

/** An event of test/events/aws. */
export const fixture = (name: string): Json =>
  JSON.parse(readFileSync(join(__dirname, '../../events/aws', `${name}.json`), 'utf8')) as Json;

export const detailOf = (event: Json): Json => event['detail'] as Json;

/** The event with some fields of its detail replaced. */
export const withDetail = (event: Json, changes: Json): Json => ({
  ...event,
  detail: { ...detailOf(event), ...changes },
});

export const location = { account: '123456789012', region: 'us-east-1' };
export const scope = { region: location.region, accounts: [location.account] };

export const node = (id: string) => ({ cloud: 'aws', ...location, id });

/** Parses an event as it arrives: as text. */
export const parse = (event: unknown, eventScope = scope) =>
  parseEvent(event === undefined ? '' : JSON.stringify(event), eventScope);
