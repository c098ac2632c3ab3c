/** The names that nft prints for priorities. */
const ipPriorities: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  dstnat: -100,
  filter: 0,
  security: 50,
  srcnat: 100,
};
const bridgePriorities: Readonly<Record<string, number>> = {
  dstnat: -300,
  filter: -200,
  out: 100,
  srcnat: 300,
};

/**
 * Parses `srcnat`, `filter + 10`, `dstnat - 1` and `-150`.
 * @returns undefined if the priority cannot be read
 */
export function priorityOf(
  family: string,
  [base = '', sign, offset = '0']: readonly string[],
): number | undefined {
  const names = family === 'bridge' ? bridgePriorities : ipPriorities;
  const start = Object.hasOwn(names, base) ? names[base] : Number(base === '' ? NaN : base);
  const distance = Number(offset) * (sign === '-' ? -1 : 1);
  return start === undefined || !Number.isInteger(start + distance) ? undefined : start + distance;
}
