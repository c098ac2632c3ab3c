import type { Pattern } from '../../../infra/aws/patterns';

/**
 * Returns whether an event matches an EventBridge pattern. Supports only the operators that peermasq's patterns use:
 * values, `exists` and `anything-but`.
 * @throws Error for any other operator
 */
export function matchesPattern(pattern: Pattern, event: unknown): boolean {
  return Object.entries(pattern).every(([field, wanted]) => {
    const value = isObject(event) ? event[field] : undefined;
    return Array.isArray(wanted)
      ? wanted.some((one) => matchesPatternValue(one, value))
      : matchesPattern(wanted as Pattern, value);
  });
}

function matchesPatternValue(wanted: unknown, value: unknown): boolean {
  if (!isObject(wanted)) return value === wanted;
  const [[operator, operand] = ['']] = Object.entries(wanted);
  if (operator === 'exists') return (value !== undefined) === operand;
  if (operator === 'anything-but') return value !== undefined && !(operand as unknown[]).includes(value);
  throw new Error(`The lab does not support the pattern operator ${operator}`);
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;
