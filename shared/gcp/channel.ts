import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import { PermanentError, RetryableError, type PeermasqError } from '../core/errors';
import type { GcpNodeRef, Node } from '../core/node';
import type { Channel, Deadline, Proof, Push, Pushed } from '../core/ports';
import { ruleSetId } from '../core/rule-set';
import { callOptions, mapLimited, type Clients } from './clients';
import { retrying, toPeermasqError } from './errors';
import { withRuleSet, type MetadataItem } from './metadata';
import { gcpRef, instanceOf, itemsOf, readInstance } from './nodes';
import { readStatus } from './status';

/**
 * Rule sets travel as instance metadata, which a running node follows and a booting one fetches; reports come
 * back as guest attributes.
 * @param program the text of the node program, which the node fetches from its metadata
 */
export function makeGcpChannel(clients: Clients, program: string): Channel {
  return {
    // A node that starts finds its rule set when it has booted.
    notYet: () => undefined,
    push({ ruleSet }, nodes, deadline) {
      const items = (current: readonly MetadataItem[]) => withRuleSet(current, ruleSet, program);
      return mapLimited(nodes, async (node): Promise<Push> => {
        try {
          await writeMetadata(clients, node, items, deadline);
          return { result: 'pushed', node, ruleSet, id: ruleSetId(ruleSet) };
        } catch (thrown) {
          return notPushed(node, toPeermasqError(`push to ${node.name}`, thrown));
        }
      });
    },
    proofs: (pushed, deadline) => awaitProofs(clients, pushed, deadline),
    /** Nothing to do: the guest attribute that a node writes is where the next look-up reads. */
    remember: () => Promise.resolve([]),
  };
}

const notPushed = (node: Node, error: PeermasqError): Push =>
  error instanceof RetryableError && error.code === 'not-ready'
    ? { result: 'not-ready', node, reason: error.message, retryAfterSeconds: error.retryAfterSeconds }
    : { result: 'failed', node, error };

/** Read, change, write; whoever wrote in between makes it start again from what they wrote. */
async function writeMetadata(
  clients: Clients,
  node: Node,
  change: (current: readonly MetadataItem[]) => readonly MetadataItem[],
  deadline: Deadline,
): Promise<void> {
  const ref = gcpRef(node);
  let instance = await instanceOf(clients, node, deadline);
  await retrying(
    `set the metadata of ${node.name}`,
    deadline,
    async () => {
      instance ??= await readInstance(clients, ref, deadline);
      if (!instance) throw gone(node);
      const current = itemsOf(instance);
      const items = change(current);
      const { fingerprint } = instance.metadata ?? {};
      instance = undefined;
      if (items !== current) await setMetadata(clients, ref, items, fingerprint, deadline);
    },
    writeAttempts,
  );
}

async function setMetadata(
  clients: Clients,
  { project, zone, id: instance }: GcpNodeRef,
  items: readonly MetadataItem[],
  fingerprint: string | null | undefined,
  deadline: Deadline,
): Promise<void> {
  const client = await clients.instances();
  const metadataResource = { items: [...items], ...(fingerprint ? { fingerprint } : {}) };
  const request = { project, zone, instance, requestId: randomUUID(), metadataResource };
  const [{ latestResponse }] = await client.setMetadata(request, callOptions(deadline));
  await finished(clients, { project, zone }, operationSchema.parse(latestResponse), deadline);
}

async function finished(
  clients: Clients,
  place: { readonly project: string; readonly zone: string },
  started: Operation,
  deadline: Deadline,
): Promise<void> {
  let operation = started;
  while (operation.status !== 'DONE') {
    if (Date.now() >= deadline) throw unfinished(operation);
    const client = await clients.zoneOperations();
    const [answer] = await client.wait({ ...place, operation: operation.name }, callOptions(deadline));
    operation = operationSchema.parse(answer);
  }
  const [fault] = operation.error?.errors ?? [];
  if (fault) throw operationFailed(fault);
}

/** In rounds over those who have not reported yet, further and further apart. */
async function awaitProofs(
  clients: Clients,
  pushed: readonly Pushed[],
  deadline: Deadline,
): Promise<Proof[]> {
  const settled: Proof[] = [];
  let waiting = pushed;
  for (let wait = firstPauseMs; ; wait = Math.min(wait * 1.6, longestPauseMs)) {
    const asked = await mapLimited(waiting, async (one) => ({
      one,
      proof: await readProof(clients, one, deadline),
    }));
    const silent = asked.filter(({ proof }) => proof.result === 'silent');
    settled.push(...asked.filter(({ proof }) => proof.result !== 'silent').map(({ proof }) => proof));
    if (silent.length === 0 || Date.now() + wait >= deadline) {
      return [...settled, ...silent.map(({ proof }) => proof)];
    }
    waiting = silent.map(({ one }) => one);
    await pause(wait);
  }
}

async function readProof(clients: Clients, { node, id }: Pushed, deadline: Deadline): Promise<Proof> {
  try {
    const silent = (reason: string): Proof => ({ result: 'silent', node, reason, retryAfterSeconds: 30 });
    const { report, reason } = await readStatus(clients, gcpRef(node), deadline);
    if (!report) return silent(reason);
    const answered = report.offered ?? report.id;
    if (answered !== id) {
      return silent(
        `its last report is about ${answered ?? 'no rule set'}: ${report.reason ?? report.result}`,
      );
    }
    // It started again after it wrote this, and may have lost its rules.
    if (node.state === 'starting' && node.recorded?.ruleSetId === report.id) {
      return silent('it starts again, and has not reported since it is running');
    }
    return { result: 'reported', node, report };
  } catch (thrown) {
    return { result: 'failed', node, error: toPeermasqError(`read the report of ${node.name}`, thrown) };
  }
}

/** Many writers may want the same instance at once, and in each round only one of them gets through. */
const writeAttempts = 20;
const firstPauseMs = 250;
const longestPauseMs = 10_000;

const operationSchema = z.object({
  name: z.string(),
  status: z.string(),
  error: z.object({ errors: z.array(z.object({ code: z.string(), message: z.string() })) }).nullish(),
});

type Operation = z.infer<typeof operationSchema>;

const unfinished = ({ name }: Operation) =>
  new RetryableError(
    'operation-unfinished',
    `Operation ${name} has not finished in the time left`,
    'It goes on without us; the next look sees how it ended.',
    30,
  );

const transientOperationFault = /RATE|QUOTA|NOT_READY|IN_USE|INTERNAL|UNAVAILABLE|CONDITION_NOT_MET/;

function operationFailed({ code, message }: { readonly code: string; readonly message: string }) {
  const text = `The operation failed: ${code}: ${message}`;
  return transientOperationFault.test(code)
    ? new RetryableError('operation-failed', text, 'It is tried again.', 10)
    : new PermanentError(
        'operation-failed',
        text,
        'Do what the message says; trying again gives the same answer.',
      );
}

const gone = ({ name }: Node) =>
  new PermanentError(
    'not-found',
    `Instance ${name} does not exist any more`,
    'Nothing is left to do for it.',
  );
