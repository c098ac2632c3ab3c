import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf, PermanentError } from '../../../shared/core/errors';
import { nodeKey, type NodeKey } from '../../../shared/core/node';
import type { Outcome } from '../../../shared/core/outcome';
import { printRuleSet } from '../../../shared/core/rule-set';
import type { Surveyed } from '../survey';

const entrySchema = z.strictObject({
  node: z.string(),
  name: z.string(),
  target: z.string(),
  cluster: z.string(),
  /** What it had in force before: the rule set's text, null for none, absent where that was not known. */
  before: z.string().nullable().optional(),
  /** `untouched` until its wave begins, `pushing` until that has ended; then what became of it. */
  state: z.enum(['untouched', 'pushing', 'proven', 'pending', 'failed', 'needs-reboot', 'skipped', 'held']),
});

const journalSchema = z.strictObject({ began: z.string(), nodes: z.array(entrySchema) });

export type JournalEntry = z.output<typeof entrySchema>;

/**
 * What a backfill has done so far, in a file that is written before each wave and after it: after a kill it still
 * tells which nodes were touched, and a rollback what they had before.
 */
export interface Journal {
  readonly file: string;
  readonly entries: ReadonlyMap<NodeKey, JournalEntry>;
  /** Writes what is about to be done. */
  begin(nodes: readonly Surveyed[]): void;
  /** Writes what became of nodes. */
  end(outcomes: readonly Outcome[]): void;
}

/** https://specifications.freedesktop.org/basedir-spec/latest/ */
const folder = (): string =>
  join(process.env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state'), 'peermasq', 'backfills');

export function openJournal(nodes: readonly Surveyed[]): Journal {
  const began = new Date().toISOString();
  const entries = new Map(nodes.map((one) => [nodeKey(one.node.ref), toEntry(one)]));
  mkdirSync(folder(), { recursive: true, mode: 0o700 });
  const file = join(folder(), `${began.replaceAll(':', '-')}.json`);
  const write = () => {
    const text = JSON.stringify({ began, nodes: [...entries.values()] }, null, 2);
    writeFileSync(`${file}.new`, text, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  };
  const set = (key: NodeKey, state: JournalEntry['state']) => {
    const entry = entries.get(key);
    if (entry) entry.state = state;
  };
  return {
    file,
    entries,
    begin(wave) {
      for (const { node } of wave) set(nodeKey(node.ref), 'pushing');
      write();
    },
    end(outcomes) {
      for (const { node, kind } of outcomes) if (kind !== 'planned') set(nodeKey(node), kind);
      write();
    },
  };
}

function toEntry({ node, target, cluster, before }: Surveyed): JournalEntry {
  const had = before ? printRuleSet(before) : node.recorded ? undefined : null;
  return {
    node: nodeKey(node.ref),
    name: node.name,
    target: target.name,
    cluster,
    ...(had !== undefined && { before: had }),
    state: 'untouched',
  };
}

/**
 * Reads back what a backfill did: that of `file`, else the last one on this machine.
 * @throws PermanentError where there is none, or it cannot be read
 */
export function readJournal(file: string | undefined): { file: string; nodes: JournalEntry[] } {
  const found = file ?? lastFile();
  if (found === undefined) {
    throw new PermanentError(
      'no-journal',
      `No backfill was made from this machine: ${folder()} is empty`,
      'Name the journal of one: --rollback FILE. Every backfill says where it is.',
    );
  }
  try {
    return { file: found, nodes: journalSchema.parse(JSON.parse(readFileSync(found, 'utf8'))).nodes };
  } catch (cause) {
    throw new PermanentError(
      'bad-journal',
      `${found} is no journal of a backfill: ${cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause)}`,
      'Name another one: --rollback FILE.',
      cause,
    );
  }
}

/** Their names are in the order of time. */
function lastFile(): string | undefined {
  try {
    const name = readdirSync(folder())
      .filter((one) => one.endsWith('.json'))
      .sort()
      .at(-1);
    return name === undefined ? undefined : join(folder(), name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
