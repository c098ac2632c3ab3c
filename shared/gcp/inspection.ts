import { setTimeout as pause } from 'node:timers/promises';
import { PermanentError, RetryableError, withAdvice } from '../core/errors';
import { explainCommand, joinParts, lookCommand, parsePart, plainLookCommand, type Part } from '../core/look';
import { nodeKey, type Node, type NodeKey } from '../core/node';
import { faultFields } from '../core/outcome';
import type { Deadline, Inspection, Log } from '../core/ports';
import { ruleSetId, type RuleSet } from '../core/rule-set';
import { mapLimited, type Clients } from './clients';
import { toPeermasqError } from './errors';
import { gcpRef, instanceOf, itemsOf, type Instance } from './instance';
import { areHanded, areReportsOff, lookNonce, ruleSetIn, withLook, withoutLook } from './metadata';
import { finish } from './operations';
import { firstPauseMs, longestPauseMs } from './proofs';
import { writeMetadata } from './push';
import { gcloud } from './reach/gcloud';
import { readProjectItems } from './reach/project';
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
 * (shared/node/peermasq.sh, `follow_look`), and takes its answer away when the nonce is gone.
 */
async function lookAt(look: Look): Promise<string> {
  const { clients, node, deadline, signal } = look;
  const instance = await instanceOf(clients, node, deadline);
  if (instance) await checkAnswers(look, instance);
  signal?.throwIfAborted();
  const nonce = lookNonce();
  try {
    const asked = await writeMetadata(clients, node, (items) => withLook(items, nonce), deadline);
    if (asked) await finish(clients, gcpRef(node), asked.operation, deadline - reserveMs);
    return joinParts(await awaitAnswer(look, nonce));
  } finally {
    await takeBack(look, nonce);
  }
}

/** @throws PermanentError where it is known beforehand that nobody on the node would answer */
async function checkAnswers({ clients, node, deadline }: Look, instance: Instance): Promise<void> {
  const items = itemsOf(instance);
  if (areReportsOff(items)) throw reportsOff(node);
  if (areHanded(items)) return;
  const ofProject = await readProjectItems(clients, gcpRef(node), deadline);
  if (ofProject && !areHanded(ofProject)) throw unwatched(node);
}

/** Whether this succeeds or not, what came of the look counts. */
async function takeBack({ clients, log, node, deadline }: Look, nonce: string): Promise<void> {
  const until = Math.max(deadline, Date.now() + reserveMs / 2);
  try {
    await writeMetadata(clients, node, (items) => withoutLook(items, nonce), until);
  } catch (thrown) {
    const fields = faultFields(toPeermasqError(`write the metadata of ${node.name}`, thrown));
    const reason = `peermasq-look stays in the metadata until the next push: ${String(fields['reason'])}`;
    log.warn('RecordFailed', { cloud: 'gcp', node: node.ref.id, ...fields, reason });
  }
}

/** A watch answers within seconds, and within 16 more after trouble. */
const patienceMs = 45_000;

async function awaitAnswer(
  { clients, node, deadline, signal }: Look,
  nonce: string,
): Promise<readonly Part[]> {
  const until = Math.min(deadline - reserveMs, Date.now() + patienceMs);
  for (let wait = firstPauseMs; Date.now() + wait < until; wait = Math.min(wait * 2, longestPauseMs)) {
    await pause(wait, undefined, { signal });
    const items = await readGuestAttributes(clients, gcpRef(node), 'peermasq-look/', deadline);
    const parts = items.flatMap(({ value }) =>
      value.startsWith(`${nonce} `) ? (parsePart(value.slice(nonce.length + 1)) ?? []) : [],
    );
    if (parts.length > 0 && parts.length === parts[0]?.count) return parts;
  }
  throw new RetryableError(
    'no-answer',
    `${node.name} does not answer: nothing on it follows its metadata`,
    'It does after its next boot, if it was pushed to; look at peermasq-watch.service on it.',
    60,
  );
}

const unwatched = ({ name, ref }: Node) =>
  new PermanentError(
    'no-answer',
    `${name} was never handed anything, and no startup script of peermasq is in its metadata or its project's: no watch on it would answer`,
    `A push hands it one: npx peermasq backfill --node ${ref.id}.`,
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
