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
import { printRuleSet } from '../../../shared/core/model/rule-set';
import type { Outcome } from '../../../shared/core/reconcile/outcome';
import { definedOnly } from '../../../shared/core/util/collections';
import type { PlannedChange } from '../dry-run';

const entrySchema = z.strictObject({
  node: z.string(),
  name: z.string(),
  target: z.string(),
  cluster: z.string(),
  /** The ID of the planned rule set. */
  ruleSet: z.string(),
  /** The text of the rule set that was in force before the backfill: null if there was none, absent if unknown. */
  before: z.string().nullable().optional(),
  /** The state is `untouched` until the node's wave starts, `pushing` until the wave ends, and then the outcome. */
  state: z.enum(['untouched', 'pushing', 'proven', 'pending', 'failed', 'needs-reboot', 'skipped', 'held']),
});

const journalSchema = z.strictObject({ startedAt: z.string(), nodes: z.array(entrySchema) });

export type JournalEntry = z.output<typeof entrySchema>;

type StoredJournal = z.output<typeof journalSchema> & { readonly file: string };

export type JournalKind = 'backfill' | 'rollback';

/**
 * A file that records the progress of a backfill. It is written before and after each wave, so that even after a
 * crash it shows which nodes were touched and what a rollback restores.
 */
export interface Journal {
  readonly kind: JournalKind;
  readonly file: string;
  readonly entries: ReadonlyMap<NodeKey, JournalEntry>;
  /** Records that a push to `nodes` is about to start. */
  begin(nodes: readonly PlannedChange[]): void;
  end(outcomes: readonly Outcome[]): void;
}

/** https://specifications.freedesktop.org/basedir-spec/latest/ */
const journalDirectory = (): string =>
  join(process.env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state'), 'peermasq', 'backfills');

/**
 * Creates the journal directory. Must be called before anything is confirmed or pushed.
 * @throws PermanentError if a journal cannot be written
 */
export function ensureJournalDirectory(): void {
  try {
    createDirectory(journalDirectory());
    accessSync(journalDirectory(), constants.W_OK);
  } catch (cause) {
    throw new PermanentError(
      'no-journal',
      `Cannot write a journal to ${journalDirectory()}: ${messageOf(cause)}`,
      { advice: 'Set XDG_STATE_HOME to a writable directory. A rollback needs the journal.', cause },
    );
  }
}

/** Does not use `recursive: true`, because mkdirSync then never returns for a directory in /proc. */
function createDirectory(path: string): void {
  if (existsSync(path)) return;
  createDirectory(dirname(path));
  mkdirSync(path, { mode: 0o700 });
}

export function openJournal(kind: JournalKind, nodes: readonly PlannedChange[]): Journal {
  const resumed = kind === 'backfill' ? findUnfinished(nodes) : undefined;
  const startedAt = resumed?.startedAt ?? new Date().toISOString();
  const file = resumed?.file ?? join(journalDirectory(), `${startedAt.replaceAll(':', '-')}-${kind}.json`);
  const entries = mergeEntries(resumed?.nodes ?? [], nodes.map(toEntry));
  const write = () => {
    const text = JSON.stringify({ startedAt, nodes: [...entries.values()] }, null, 2);
    writeFileSync(`${file}.new`, text, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  };
  const setState = (key: NodeKey, state: JournalEntry['state']) => {
    const entry = entries.get(key);
    if (entry) entry.state = state;
  };
  return {
    kind,
    file,
    entries,
    begin(wave) {
      for (const { node } of wave) setState(nodeKey(node.ref), 'pushing');
      write();
    },
    end(outcomes) {
      for (const { node, kind: state } of outcomes) if (state !== 'planned') setState(nodeKey(node), state);
      write();
    },
  };
}

/**
 * Merges the entries of a resumed backfill. A node that was already touched keeps its previous entry, because `before`
 * in that entry is the rule set that a rollback restores.
 */
function mergeEntries(
  old: readonly JournalEntry[],
  current: readonly JournalEntry[],
): Map<NodeKey, JournalEntry> {
  const entries = new Map(old.map((entry) => [entry.node, entry]));
  for (const entry of current) {
    const known = entries.get(entry.node);
    if (!known || known.state === 'untouched') entries.set(entry.node, entry);
  }
  return entries;
}

function toEntry({ node, target, cluster, before, outcome }: PlannedChange): JournalEntry {
  const noneBefore = node.recorded ? undefined : null;
  return {
    node: nodeKey(node.ref),
    name: node.name,
    target: target.name,
    cluster,
    ruleSet: outcome.plan.id,
    ...definedOnly({ before: before ? printRuleSet(before) : noneBefore }),
    state: 'untouched',
  };
}

/** Returns the last backfill if it is incomplete and planned the same rule sets for these nodes. */
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
 * Reads a journal.
 * @param file defaults to the journal of the last backfill on this machine
 * @throws PermanentError if there is no journal, or it cannot be read
 */
export function readJournal(file: string | undefined): StoredJournal {
  const found = file ?? latestJournal();
  if (found === undefined) {
    throw new PermanentError(
      'no-journal',
      `No backfill was run on this machine: ${journalDirectory()} has no journal`,
      { advice: 'Pass a journal with --rollback FILE. Every backfill prints the path of its journal.' },
    );
  }
  try {
    return { file: found, ...journalSchema.parse(JSON.parse(readFileSync(found, 'utf8'))) };
  } catch (cause) {
    const reason = cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause);
    throw new PermanentError('bad-journal', `${found} is not a valid backfill journal: ${reason}`, {
      advice: 'Pass another journal with --rollback FILE, or move this file away.',
      cause,
    });
  }
}

/**
 * The path of the last backfill's journal. Journals of rollbacks are ignored; a rollback is undone by passing its
 * journal with --rollback FILE.
 */
function latestJournal(): string | undefined {
  if (!existsSync(journalDirectory())) return undefined;
  const name = readdirSync(journalDirectory())
    .filter((one) => one.endsWith('-backfill.json'))
    .sort()
    .at(-1);
  return name === undefined ? undefined : join(journalDirectory(), name);
}
