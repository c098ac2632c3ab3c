import { listOf, objectOf, scalarText, textOf, textsOf, type JsonObject, type JsonValue } from '../values';

/**
 * nft translates the extensions in a table of iptables-nft with iptables' own code, which leaves out what nft has no
 * words for: `--src-type UNICAST ! --dst-type LOCAL` becomes `fib saddr type != unicast`, and `CONNMARK --restore-mark
 * --mask 0x80` becomes `meta mark set ct mark and 0x80`, which clears the other bits.
 * @returns which part of a rule the statement is, if its text may mean something else than the rule
 */
export function isApproximate(statement: JsonObject, family: string): 'match' | 'target' | undefined {
  const { match, mangle } = statement;
  if (match !== undefined) return isApproximateMatch(objectOf(match), family) ? 'match' : undefined;
  if (mangle !== undefined) return isApproximateMangle(objectOf(mangle)) ? 'target' : undefined;
  return undefined;
}

function isApproximateMatch({ left = null, right = null }: JsonObject, family: string): boolean {
  const { fib, ct } = objectOf(left);
  if (fib !== undefined) {
    const flags = textsOf(objectOf(fib)['flags']);
    // In iptables, an IPv6 address of the node is both local and unicast.
    const isAmbiguous = family === 'ip6' && scalarText(right).includes('unicast');
    return !flags.includes('daddr') || isAmbiguous;
  }
  return ct !== undefined && textOf(objectOf(ct)['key']) === 'status';
}

/** Which mark an expression reads, and the operators that it applies. */
function operatorsOf(value: JsonValue): {
  readonly marks: readonly string[];
  readonly operators: readonly string[];
} {
  const [name = '', operands] = Object.entries(objectOf(value))[0] ?? [];
  if (name === 'meta' || name === 'ct') return { marks: [name], operators: [] };
  const parts = listOf(operands).map(operatorsOf);
  return {
    marks: parts.flatMap(({ marks }) => marks),
    operators: [...parts.flatMap(({ operators }) => operators), ...(name === '' ? [] : [name])],
  };
}

function isApproximateMangle({ key = null, value = null }: JsonObject): boolean {
  const [mark = ''] = operatorsOf(key).marks;
  const { marks, operators } = operatorsOf(value);
  if (marks.some((other) => other !== mark)) return true;
  return mark === 'ct' && operators.length > 1;
}
