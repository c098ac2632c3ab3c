import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { PermanentError, RetryableError, withAdvice } from '../core/errors';
import { explainCommand, joinParts, lookCommand, parsePart, plainLookCommand, type Part } from '../core/look';
import { nodeKey, type Node, type NodeKey } from '../core/node';
import type { Deadline, Inspection } from '../core/ports';
import { ruleSetId, type RuleSet } from '../core/rule-set';
import { mapLimited, type Clients } from './clients';
import { toPeermasqError } from './errors';
import { gcpRef, instanceOf, itemsOf } from './instance';
import { areReportsOff, ruleSetIn, withLook, withoutLook } from './metadata';
import { finish } from './operations';
import { firstPauseMs, longestPauseMs } from './proofs';
import { writeMetadata } from './push';
import { gcloud } from './reach/gcloud';
import { readGuestAttributes } from './status';

/** Asks with the credentials of whoever runs it (`inspectionPermissions` in permissions.ts). */
export function makeGcpInspection(clients: Clients): Inspection {
  return {
    async look(node, deadline) {
      try {
        // A copy, of which no earlier look-up knows: what those saw is outdated by what is written here.
        return await lookAt(clients, { ...node }, deadline);
      } catch (thrown) {
        throw withAdvice(toPeermasqError(`look at ${node.name}`, thrown), byHand(node));
      }
    },
    inForce: (nodes, deadline) => inForce(clients, nodes, deadline),
  };
}

/** Left of the time for taking the question back. */
const reserveMs = 10_000;

/**
 * No command can be run, so the node is asked by its metadata: its watch answers a nonce that it has not seen
 * (shared/node/peermasq.sh, `follow_look`), and takes its answer away when the nonce is gone.
 */
async function lookAt(clients: Clients, node: Node, deadline: Deadline): Promise<string> {
  const instance = await instanceOf(clients, node, deadline);
  if (instance && areReportsOff(itemsOf(instance))) throw reportsOff(node);
  const nonce = randomBytes(16).toString('hex');
  const asked = await writeMetadata(clients, node, (items) => withLook(items, nonce), deadline);
  try {
    if (asked) await finish(clients, gcpRef(node), asked.operation, deadline);
    return joinParts(await awaitAnswer(clients, node, nonce, deadline - reserveMs));
  } finally {
    await writeMetadata(clients, node, (items) => withoutLook(items, nonce), deadline);
  }
}

/** A watch answers within seconds, and within 16 more after trouble. */
const patienceMs = 45_000;

async function awaitAnswer(
  clients: Clients,
  node: Node,
  nonce: string,
  deadline: Deadline,
): Promise<readonly Part[]> {
  const until = Math.min(deadline, Date.now() + patienceMs);
  for (let wait = firstPauseMs; Date.now() + wait < until; wait = Math.min(wait * 2, longestPauseMs)) {
    await pause(wait);
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
