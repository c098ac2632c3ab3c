import { createInterface } from 'node:readline/promises';
import { PermanentError } from '../../../shared/core/model/errors';
import type { PlannedChange } from '../dry-run';
import { exitCodes } from '../exit';
import { count, printErr } from '../output';
import type { BackfillOptions } from './options';

/** @throws PermanentError if stdin is not a terminal, or the answer is not yes */
export async function confirm(
  nodes: readonly PlannedChange[],
  { yes, canary, wave }: BackfillOptions,
): Promise<void> {
  if (yes) return;
  if (!process.stdin.isTTY)
    throw new PermanentError('not-confirmed', 'Cannot prompt: stdin is not a terminal', {
      advice: 'Use --yes.',
    });
  const order = `${count(Math.min(canary, nodes.length), 'canary node')} first, then ${wave} at a time`;
  const answer = await prompt(`Push to ${count(nodes.length, 'node')} (${order})? Type yes to continue: `);
  if (answer === undefined) {
    printErr('\nCancelled. Nothing was pushed.');
    process.exit(exitCodes.interrupted);
  }
  if (answer.trim() === 'yes') return;
  throw new PermanentError('not-confirmed', 'Not confirmed. Nothing was pushed', {
    advice: 'Type yes to continue, or use --yes.',
  });
}

/** @returns the answer, or undefined after Ctrl-C or Ctrl-D */
async function prompt(question: string): Promise<string | undefined> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const closed = new AbortController();
  lines.once('close', () => {
    closed.abort();
  });
  try {
    return await lines.question(question, { signal: closed.signal });
  } catch (error) {
    if ((error as Error).name !== 'AbortError') throw error;
    return undefined;
  } finally {
    lines.close();
  }
}
