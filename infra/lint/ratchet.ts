// Prevents the counts in infra/lint/ratchet.json from increasing.
//   tsx infra/lint/ratchet.ts             checks the counts; `npm run lint` runs ESLint before it
//   tsx infra/lint/ratchet.ts --update    counts everything again and lowers the counts
//   tsx infra/lint/ratchet.ts --list [PATH…]   lists the names and phrases that are counted below the paths
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { findCycles } from './cycles';
import type { Violation } from './files';
import { findNames } from './names';
import { findProse } from './prose';
import { findRaised, parseTotals, printTotals, sumSuppressions, type Raised, type Totals } from './totals';

const totalsFile = 'infra/lint/ratchet.json';
const suppressionsFile = 'eslint-suppressions.json';

const readOr = (file: string, otherwise: string) =>
  existsSync(file) ? readFileSync(file, 'utf8') : otherwise;
const print = (findings: readonly Violation[]) => {
  for (const { file, line, message } of findings) console.log(`${file}:${String(line)} ${message}`);
};

function check(): boolean {
  const checks = { 'import-cycle': findCycles(), name: findNames(), prose: findProse() };
  const counts = Object.entries(checks).map(([name, findings]) => [name, findings.length] as const);
  const found = { ...sumSuppressions(readOr(suppressionsFile, '{}')), ...Object.fromEntries(counts) };
  const raised = findRaised(parseTotals(readFileSync(totalsFile, 'utf8')), found);
  for (const [name, findings] of Object.entries(checks)) {
    if (raised.some(({ rule }) => rule === name)) print(findings);
  }
  printRaised(raised);
  return raised.length === 0;
}

function printRaised(raised: readonly Raised[]) {
  for (const { rule, allowed, found } of raised) {
    console.error(`${rule}: ${String(found)} findings, ${String(allowed)} allowed (infra/lint/ratchet.json)`);
  }
}

/**
 * Suppresses all current findings of ESLint at the current paths of the files, unless a rule would have more findings
 * than before.
 */
function update(): boolean {
  const before = readOr(suppressionsFile, '{}');
  const allowed = existsSync(totalsFile) ? parseTotals(readFileSync(totalsFile, 'utf8')) : undefined;
  rmSync(suppressionsFile, { force: true });
  // ESLint's cache works per file. Delete node_modules/.cache/eslint so that the rules that need types check every
  // file again.
  const { status } = spawnSync('npm', ['run', 'eslint', '--', '.', '--suppress-all'], { stdio: 'inherit' });
  const found: Totals = {
    ...sumSuppressions(readOr(suppressionsFile, '{}')),
    'import-cycle': findCycles().length,
    name: findNames().length,
    prose: findProse().length,
  };
  const raised = allowed ? findRaised(allowed, found) : [];
  if (status !== 0 || raised.length > 0) {
    writeFileSync(suppressionsFile, before);
    printRaised(raised);
    return false;
  }
  writeFileSync(totalsFile, printTotals(found));
  return true;
}

const [mode, ...paths] = process.argv.slice(2);
if (mode === '--list') print([...findNames(paths), ...findProse(paths)]);
else if (!(mode === '--update' ? update() : check())) process.exitCode = 1;
