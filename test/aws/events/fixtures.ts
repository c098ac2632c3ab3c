import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { launchLifecycleAction, launchSuccessful } from '../../../shared/aws/events/auto-scaling-launch';
import { commandFinished } from '../../../shared/aws/events/command-finished';
import type {
  CommandFinished,
  EventParser,
  NodesJoined,
  RoutesChanged,
} from '../../../shared/aws/events/event';
import { instanceStateChanged } from '../../../shared/aws/events/instance-state-changed';
import { parseEvent } from '../../../shared/aws/events/parse-event';
import { routesChanged } from '../../../shared/aws/events/routes-changed';
import { runInstances } from '../../../shared/aws/events/run-instances';

export type Json = Record<string, unknown>;

/** Reads an event from test/events/aws. */
export const fixture = (name: string): Json =>
  JSON.parse(readFileSync(join(__dirname, '../../events/aws', `${name}.json`), 'utf8')) as Json;

export const detailOf = (event: Json): Json => event['detail'] as Json;

/** Returns a copy of the event with changes to its detail. */
export const withDetail = (event: Json, changes: Json): Json => ({
  ...event,
  detail: { ...detailOf(event), ...changes },
});

export const location = { account: '123456789012', region: 'us-east-1' };
export const scope = { region: location.region, accounts: [location.account] };

export const node = (id: string) => ({ cloud: 'aws', ...location, id });

const asText = (event: unknown): string => (event === undefined ? '' : JSON.stringify(event));

export const nodeParsers: readonly EventParser<NodesJoined>[] = [
  instanceStateChanged,
  runInstances,
  launchLifecycleAction,
  launchSuccessful,
];

/** Parses an event with the parsers of node-joined. */
export const parse = (event: unknown, eventScope = scope) =>
  parseEvent(asText(event), eventScope, nodeParsers);

/** Parses an event with the parsers of peering-changed and command-finished. */
export const parseOther = (event: unknown) =>
  parseEvent<RoutesChanged | CommandFinished>(asText(event), scope, [routesChanged, commandFinished]);
