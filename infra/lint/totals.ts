import * as z from 'zod';

/** The number of findings by rule or check. */
export type Totals = Readonly<Record<string, number>>;

const suppressionsSchema = z.record(z.string(), z.record(z.string(), z.object({ count: z.number() })));

/** Returns the number of suppressions by rule. ESLint counts them by file and rule. */
export function sumSuppressions(json: string): Totals {
  const totals: Record<string, number> = {};
  for (const rules of Object.values(suppressionsSchema.parse(JSON.parse(json)))) {
    for (const [rule, { count }] of Object.entries(rules)) totals[rule] = (totals[rule] ?? 0) + count;
  }
  return totals;
}

export const parseTotals = (json: string): Totals => z.record(z.string(), z.number()).parse(JSON.parse(json));

export type Raised = { readonly rule: string; readonly allowed: number; readonly found: number };

/** Returns the rules with more findings than allowed. A rule without an entry may have no findings. */
export const findRaised = (allowed: Totals, found: Totals): Raised[] =>
  Object.entries(found)
    .map(([rule, count]) => ({ rule, allowed: allowed[rule] ?? 0, found: count }))
    .filter((entry) => entry.found > entry.allowed);

/** Prints the totals in order, without rules that have reached zero. */
export const printTotals = (totals: Totals): string => {
  const entries = Object.entries(totals).filter(([, count]) => count > 0);
  const sorted = entries.toSorted(([one], [other]) => one.localeCompare(other));
  return `${JSON.stringify(Object.fromEntries(sorted), undefined, 2)}\n`;
};
