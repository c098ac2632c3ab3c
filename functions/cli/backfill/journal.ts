import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import * as z from 'zod';
import { messageOf, PermanentError } from '../../../shared/core/model/errors';
import { nodeKey, type NodeKey } from '../../../shared/core/model/node';
import type { Outcome } from '../../../shared/core/reconcile/outcome';
import { printRuleSet } from '../../../shared/core/model/rule-set';
import type { PlannedChange } from '../plan';

const entrySchema = z.strictObject({
  node: z.string(),
  name: z.string(),
  target: z.string(),
  cluster: z.string(),
  /** The id of the rule set that it is to have. */
  ruleSet: z.string(),
  /** What it had in force before: the rule set's text, null for none, absent where that was not known. */
  before: z.string().nullable().optional(),
  /** `untouched` until its wave begins, `pushing` until that has ended; then what became of it. */
  state: z.enum(['untouched', 'pushing', 'proven', 'pending', 'failed', 'needs-reboot', 'skipped', 'held']),
});

const journalSchema = z.strictObject({ startedAt: z.string(), nodes: z.array(entrySchema) });

export type JournalEntry = z.output<typeof entrySchema>;

export type JournalKind = 'backfill' | 'rollback';

/**
 * What a backfill has done so far, in a file that is written before each wave and after it: after a kill it still
 * tells which nodes were touched, and a rollback what they had before.
 */
export interface Journal {
  readonly kind: JournalKind;
  readonly file: string;
  readonly entries: ReadonlyMap<NodeKey, JournalEntry>;
  /** Writes what is about to be done. */
  begin(nodes: readonly PlannedChange[]): void;
  /** Writes what became of nodes. */
  end(outcomes: readonly Outcome[]): void;
}

/** https://specifications.freedesktop.org/basedir-spec/latest/ */
const journalDirectory = (): string =>
  join(process.env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state'), 'peermasq', 'backfills');

/**
 * To be called before anything is pushed, or asked.
 * @throws PermanentError where no journal could be written
 */
export function ensureJournalDirectory(): void {
  try {
    createDirectory(journalDirectory());
    accessSync(journalDirectory(), constants.W_OK);
  } catch (cause) {
    throw new PermanentError(
      'no-journal',
      `No journal can be written to ${journalDirectory()}: ${messageOf(cause)}`,
      'Set XDG_STATE_HOME to a folder that can be written: without a journal there is no rollback.',
      cause,
    );
  }
}

/** One after the other: made recursively by Node.js, a folder in /proc never ends. */
function createDirectory(path: string): void {
  if (existsSync(path)) return;
  createDirectory(dirname(path));
  mkdirSync(path, { mode: 0o700 });
}

/** A backfill that goes on with the one before goes on with its journal: what nodes had before that counts. */
export function openJournal(kind: JournalKind, nodes: readonly PlannedChange[]): Journal {
  const continued = kind === 'backfill' ? findUnfinished(nodes) : undefined;
  const startedAt = continued?.startedAt ?? new Date().toISOString();
  const entries = new Map((continued?.nodes ?? []).map((entry) => [entry.node, entry]));
  for (const one of nodes) {
    const entry = toEntry(one);
    const known = entries.get(entry.node);
    // Once touched is touched, also where this run does not come as far.
    if (!known || known.state === 'untouched') entries.set(entry.node, entry);
  }
  const file = continued?.file ?? join(journalDirectory(), `${startedAt.replaceAll(':', '-')}-${kind}.json`);
  const write = () => {
    const text = JSON.stringify({ startedAt, nodes: [...entries.values()] }, null, 2);
    writeFileSync(`${file}.new`, text, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  };
  const set = (key: NodeKey, state: JournalEntry['state']) => {
    const entry = entries.get(key);
    if (entry) entry.state = state;
  };
  return {
    kind,
    file,
    entries,
    begin(wave) {
      for (const { node } of wave) set(nodeKey(node.ref), 'pushing');
      write();
    },
    end(outcomes) {
      for (const { node, kind: state } of outcomes) if (state !== 'planned') set(nodeKey(node), state);
      write();
    },
  };
}

function toEntry({ node, target, cluster, before, outcome }: PlannedChange): JournalEntry {
  const previous = before ? printRuleSet(before) : node.recorded ? undefined : null;
  return {
    node: nodeKey(node.ref),
    name: node.name,
    target: target.name,
    cluster,
    ruleSet: outcome.plan.id,
    ...(previous !== undefined && { before: previous }),
    state: 'untouched',
  };
}

type StoredJournal = z.output<typeof journalSchema> & { readonly file: string };

/** The last backfill, where that was not seen to its end and these nodes are to have what it meant them to have. */
function findUnfinished(nodes: readonly PlannedChange[]): StoredJournal | undefined {
  const file = latestJournal();
  if (file === undefined) return undefined;
  const last = readJournal(file);
  const plannedIds = new Map(last.nodes.map((entry) => [entry.node, entry.ruleSet]));
  const isSame = ({ node, outcome }: PlannedChange) => plannedIds.get(nodeKey(node.ref)) === outcome.plan.id;
  const isIncomplete = last.nodes.some(({ state }) => state !== 'proven');
  return isIncomplete && nodes.length > 0 && nodes.every(isSame) ? last : undefined;
}

/**
 * Reads back what a backfill did: that of `file`, else the last one on this machine.
 * @throws PermanentError where there is none, or it cannot be read
 */
export function readJournal(file: string | undefined): StoredJournal {
  const found = file ?? latestJournal();
  if (found === undefined) {
    throw new PermanentError(
      'no-journal',
      `No backfill was made from this machine: ${journalDirectory()} has no journal`,
      'Name the journal of one: --rollback FILE. Every backfill says where it is.',
    );
  }
  try {
    return { file: found, ...journalSchema.parse(JSON.parse(readFileSync(found, 'utf8'))) };
  } catch (cause) {
    throw new PermanentError(
      'bad-journal',
      `${found} is no journal of a backfill: ${cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause)}`,
      'Name another one: --rollback FILE; or move this one away.',
      cause,
    );
  }
}

/** Names are in the order of time. What a rollback did is no backfill: it is not taken back unless it is named. */
function latestJournal(): string | undefined {
  if (!existsSync(journalDirectory())) return undefined;
  const name = readdirSync(journalDirectory())
    .filter((one) => one.endsWith('-backfill.json'))
    .sort()
    .at(-1);
  return name === undefined ? undefined : join(journalDirectory(), name);
}
