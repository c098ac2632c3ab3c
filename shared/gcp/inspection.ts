import { setTimeout as pause } from 'node:timers/promises';
import { PermanentError, RetryableError, withAdvice } from '../core/errors';
import { explainCommand, joinParts, lookCommand, parsePart, plainLookCommand, type Part } from '../core/look';
import { nodeKey, type Node, type NodeKey } from '../core/node';
import { faultFields } from '../core/outcome';
import type { Deadline, Inspection, Log } from '../core/ports';
import { ruleSetId, type RuleSet } from '../core/rule-set';
import { mapLimited, type Clients } from './clients';
import { toPeermasqError } from './errors';
import { gcpRef, instanceOf, itemsOf } from './instance';
import { areHanded, areReportsOff, lookNonce, ruleSetIn, withLook, withoutLook } from './metadata';
import { finish } from './operations';
import { firstPauseMs, longestPauseMs } from './proofs';
import { writeMetadata } from './push';
import { gcloud } from './reach/gcloud';
import { readGuestAttributes } from './status';

/**
 * Asks with the credentials of whoever runs it (`inspectionPermissions` in permissions.ts).
 * @param log is told what could not be taken back
 */
export function makeGcpInspection(clients: Clients, log: Log): Inspection {
  return {
    async look(node, deadline, signal) {
      try {
        // A copy, of which no earlier look-up knows: what those saw is outdated by what is written here.
        return await lookAt({ clients, log, node: { ...node }, deadline, signal });
      } catch (thrown) {
        signal?.throwIfAborted();
        throw withAdvice(toPeermasqError(`look at ${node.name}`, thrown), byHand(node));
      }
    },
    inForce: (nodes, deadline) => inForce(clients, nodes, deadline),
  };
}

interface Look {
  readonly clients: Clients;
  readonly log: Log;
  readonly node: Node;
  readonly deadline: Deadline;
  readonly signal: AbortSignal | undefined;
}

/** Left of the time for taking the question back. */
const reserveMs = 10_000;

/**
 * No command can be run, so the node is asked by its metadata: its watch answers a nonce that it has not seen
 * (shared/node/src, `follow_snapshot_request`), and takes its answer away when the nonce is gone.
 */
async function lookAt(look: Look): Promise<string> {
  const { clients, node, deadline, signal } = look;
  const instance = await instanceOf(clients, node, deadline);
  const items = instance ? itemsOf(instance) : [];
  if (areReportsOff(items)) throw reportsOff(node);
  signal?.throwIfAborted();
  const nonce = lookNonce();
  try {
    const asked = await writeMetadata(clients, node, (items) => withLook(items, nonce), deadline);
    if (asked) await finish(clients, gcpRef(node), asked.operation, deadline - reserveMs);
    return joinParts(await awaitAnswer(look, nonce, areHanded(items)));
  } finally {
    await takeBack(look, nonce);
  }
}

/** Whether this succeeds or not, what came of the look counts. */
async function takeBack({ clients, log, node, deadline }: Look, nonce: string): Promise<void> {
  const until = Math.max(deadline, Date.now() + reserveMs / 2);
  try {
    await writeMetadata(clients, node, (items) => withoutLook(items, nonce), until);
  } catch (thrown) {
    const fields = faultFields(toPeermasqError(`write the metadata of ${node.name}`, thrown));
    const reason = `peermasq-snapshot stays in the metadata until the next push: ${String(fields['reason'])}`;
    log.warn('RecordFailed', { cloud: 'gcp', node: node.ref.id, ...fields, reason });
  }
}

/** A watch answers within seconds, and within 16 more after trouble. */
const patienceMs = 45_000;
/** For a node that was handed nothing: a watch may be there all the same, from a DaemonSet or the project's seed. */
const shortPatienceMs = 10_000;

async function awaitAnswer(
  { clients, node, deadline, signal }: Look,
  nonce: string,
  isHanded: boolean,
): Promise<readonly Part[]> {
  const patience = isHanded ? patienceMs : shortPatienceMs;
  const until = Math.min(deadline - reserveMs, Date.now() + patience);
  for (let wait = firstPauseMs; Date.now() + wait < until; wait = Math.min(wait * 2, longestPauseMs)) {
    await pause(wait, undefined, { signal });
    const items = await readGuestAttributes(clients, gcpRef(node), 'peermasq-snapshot/', deadline);
    const parts = items.flatMap(({ value }) =>
      value.startsWith(`${nonce} `) ? (parsePart(value.slice(nonce.length + 1)) ?? []) : [],
    );
    if (parts.length > 0 && parts.length === parts[0]?.count) return parts;
  }
  throw isHanded ? silent(node) : unwatched(node);
}

const silent = ({ name }: Node) =>
  new RetryableError(
    'no-answer',
    `${name} does not answer: nothing on it follows its metadata`,
    'It does after its next boot, if it was pushed to; look at peermasq-watch.service on it.',
    60,
  );

const unwatched = ({ name, ref }: Node) =>
  new PermanentError(
    'no-answer',
    `${name} does not answer: it was never handed anything, and nothing else on it follows its metadata`,
    `A push hands it what does: npx peermasq backfill --node ${ref.id}.`,
  );

const reportsOff = ({ name }: Node) =>
  new PermanentError(
    'no-answer',
    `${name} cannot answer: its metadata turns guest attributes off`,
    'Set enable-guest-attributes to TRUE.',
  );

function byHand(node: Node): string {
  const { project, zone } = gcpRef(node);
  const ssh = gcloud('ssh', node.name, '--zone', zone, '--project', project, '--command');
  return `By hand: ${ssh} '${lookCommand}' > FILE, or without the program ${ssh} '${plainLookCommand}' > FILE, then ${explainCommand}`;
}

/** What the metadata hands over, where the record says that the node took it. */
async function inForce(
  clients: Clients,
  nodes: readonly Node[],
  deadline: Deadline,
): Promise<ReadonlyMap<NodeKey, RuleSet>> {
  const recorded = nodes.filter((node) => node.recorded);
  const found = await mapLimited(recorded, async (node): Promise<[NodeKey, RuleSet][]> => {
    const instance = await instanceOf(clients, node, deadline);
    const ruleSet = instance && ruleSetIn(itemsOf(instance));
    const isInForce = ruleSet && ruleSetId(ruleSet) === node.recorded?.ruleSetId;
    return isInForce ? [[nodeKey(node.ref), ruleSet]] : [];
  });
  return new Map(found.flat());
}
