import { explain } from '../../shared/core/explain/explain';
import type { Explanation } from '../../shared/core/explain/explanation';
import { overviewOf, type Overview } from '../../shared/core/explain/overview/overview';
import { parseSnapshot } from '../../shared/core/explain/parse/snapshot';
import { isOwnAddress } from '../../shared/core/explain/simulate/routing';
import { tryParseAddress, type Address } from '../../shared/core/model/cidr';
import { PeermasqError, PermanentError } from '../../shared/core/model/errors';
import { definedOnly } from '../../shared/core/util/collections';
import { escapeControls } from '../../shared/core/util/shell';
import type { Form } from './form';

interface ResultBase {
  readonly title: string;
  /** What was assumed about the input, and which of its lines were passed over. */
  readonly warnings: readonly string[];
}

export interface ExplanationAnswer extends ResultBase {
  readonly kind: 'explanation';
  readonly explanation: Explanation;
}

export interface OverviewAnswer extends ResultBase, Overview {
  readonly kind: 'overview';
  readonly family: 4 | 6;
  readonly assumedComplete: boolean;
}

export type Result =
  | ExplanationAnswer
  | OverviewAnswer
  | { readonly kind: 'error'; readonly message: string; readonly advice: string };

/** Answers the form with the code that `peermasq explain` uses. Invalid input is a result, not an exception. */
export function evaluate(form: Form): Result {
  try {
    return escapeStrings(answer(form));
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    return escapeStrings({ kind: 'error', message: error.message, advice: error.advice });
  }
}

/** Escapes control characters in every string, because the pasted text is untrusted. */
function escapeStrings<T>(value: T): T;
function escapeStrings(value: unknown): unknown {
  if (typeof value === 'string') return escapeControls(value);
  if (Array.isArray(value)) return value.map((item: unknown) => escapeStrings(item));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, escapeStrings(field)]));
}

function answer({ rules, from, to, protocol, want, assumeComplete }: Form): Result {
  const source = parseEndpoint(from, 'From').address;
  const snapshot = parseSnapshot(rules);
  const isFromNode = isOwnAddress(snapshot, source);
  const packet = { source, isFromNode, protocol };
  const { warnings } = snapshot;
  if (to.trim() === '') {
    const { family } = source;
    const title = `${source.text} → every destination`;
    const overview = overviewOf(snapshot, packet);
    return { kind: 'overview', title, family, warnings, assumedComplete: assumeComplete, ...overview };
  }
  const { address: destination, port: destinationPort } = parseEndpoint(to, 'To');
  if (destination.family !== source.family)
    throw new PermanentError('bad-option', `${source.text} is IPv${source.family}, but ${to} is not`, {
      advice: 'Enter two addresses of the same family.',
    });
  return {
    kind: 'explanation',
    title: `${source.text} → ${to.trim()}`,
    explanation: explain(
      snapshot,
      { ...packet, destination, ...definedOnly({ destinationPort }) },
      { want, assumeComplete },
    ),
    warnings,
  };
}

interface Endpoint {
  readonly address: Address;
  readonly port: number | undefined;
}

/** Parses `10.193.0.3:5432`, `[fd00::1]:5432` or an address alone. */
function parseEndpoint(text: string, field: 'From' | 'To'): Endpoint {
  const trimmed = text.trim();
  const alone = tryParseAddress(trimmed);
  if (alone) return { address: alone, port: undefined };
  const [, v6, v4 = '', port = ''] = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})$/.exec(trimmed) ?? [];
  const address = tryParseAddress(v6 ?? v4);
  if (address && Number(port) >= 1 && Number(port) <= 65_535) return { address, port: Number(port) };
  const found = trimmed === '' ? 'it is empty' : `${JSON.stringify(trimmed)} is neither`;
  throw new PermanentError('bad-option', `${field}: expected an address or ADDRESS:PORT; ${found}`, {
    advice: 'Examples: 10.132.0.10, 10.193.0.3:5432, [fd00::1]:5432.',
  });
}
