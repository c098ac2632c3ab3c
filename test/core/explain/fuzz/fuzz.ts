import { formatExplanation } from '../../../../functions/cli/format-explanation';
import { explain } from '../../../../shared/core/explain/explain';
import { DumpError } from '../../../../shared/core/explain/model';
import { decodeInput } from '../../../../shared/core/explain/parse/input';
import { parseSnapshot } from '../../../../shared/core/explain/parse/snapshot';
import { messageOf } from '../../../../shared/core/model/errors';
import { stripControlsKeepColours } from '../../../../shared/core/util/shell';
import { parseAddress } from '../../../../shared/core/model/cidr';
import { packet } from '../dump-builder';
import { SeededRandom } from '../kernel/random';
import { mutate, readSeedInputs } from './mutate';

export interface FuzzTally {
  readonly answers: number;
  readonly errors: number;
  /** The longest time for one input, in milliseconds of CPU time. */
  readonly slowest: number;
  readonly failures: readonly string[];
}

interface FuzzOptions {
  readonly cases: number;
  readonly seed: number;
  /** Ends earlier after this time, in milliseconds. */
  readonly limit?: number;
}

const ipv6Packet = {
  ...packet,
  source: parseAddress('fd00:132::a'),
  destination: parseAddress('fd00:193::3'),
};

/** Explains packets with random input. Every input has to give an answer or one DumpError. */
export function fuzz({ cases, seed, limit = Infinity }: FuzzOptions): FuzzTally {
  const seeds = readSeedInputs();
  const random = new SeededRandom(seed);
  const failures: string[] = [];
  const deadline = Date.now() + limit;
  let answers = 0;
  let errors = 0;
  let slowest = 0;
  while (answers + errors + failures.length < cases && Date.now() < deadline) {
    const input = mutate(seeds, random);
    const began = process.cpuUsage();
    const failure = tryInput(input);
    const { user, system } = process.cpuUsage(began);
    slowest = Math.max(slowest, (user + system) / 1000);
    if (failure === 'answer') answers++;
    else if (failure === 'error') errors++;
    else failures.push(`${failure}\nInput: ${JSON.stringify(Buffer.from(input).toString('utf8'))}`);
  }
  return { answers, errors, slowest, failures };
}

/** @returns what the input gave, or a description of what is wrong with it */
export function tryInput(input: Uint8Array): string {
  try {
    const snapshot = parseSnapshot(decodeInput(input));
    for (const one of [packet, ipv6Packet]) {
      const explanation = explain(snapshot, one);
      const { text } = formatExplanation('x', { explanation, upstream: null, warnings: snapshot.warnings });
      if (stripControlsKeepColours(text) !== text) return 'A control character in the answer';
    }
    return 'answer';
  } catch (error) {
    if (!(error instanceof DumpError))
      return error instanceof Error ? (error.stack ?? error.message) : 'thrown';
    return checkError(error);
  }
}

function checkError(error: DumpError): string {
  const message = messageOf(error);
  if (/[\p{Cc}\p{Cf}]/u.test(message)) return `A control character in the error: ${JSON.stringify(message)}`;
  if (!/^Line [1-9]\d* of the dump: expected .{3,}, (?:found:|but this looks like) /.test(message))
    return `The error does not say what was read: ${message}`;
  return message.length <= 500 ? 'error' : `The error is too long: ${message}`;
}
