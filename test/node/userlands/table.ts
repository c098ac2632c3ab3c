/** The results of one userland: one row of the table in docs/versions.md. */
export interface Row {
  readonly userland: string;
  readonly versions: readonly string[];
  readonly passed: number;
  readonly failed: number;
  readonly notApplicable: number;
  /** The day of the run, as in 2026-11-29. */
  readonly lastRun: string;
}

/** The programs whose versions the table shows, with the command that prints each version. */
export const programs = {
  bash: 'bash --version',
  iptables: 'iptables --version',
  nft: 'nft --version',
  ipset: 'ipset --version',
  iproute2: 'ip -V',
  conntrack: 'conntrack --version',
  busybox: '[ -d /opt/busybox ] && busybox',
} as const;

const columns = ['userland', ...Object.keys(programs), 'passed', 'failed', 'not applicable', 'last run'];

const start = '<!-- userlands: written by npm run test:userlands -- --write -->';
const end = '<!-- /userlands -->';

/** Returns the table in Markdown. */
export function renderTable(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.userland,
    ...row.versions,
    ...[row.passed, row.failed, row.notApplicable].map(String),
    row.lastRun,
  ]);
  const table = [columns, columns.map(() => '---'), ...cells];
  return table.map((line) => `| ${line.join(' | ')} |\n`).join('');
}

/** Returns the rows of the table on the page. Fails if the page has no table. */
export function parseTable(page: string): Row[] {
  const [, ...lines] = tableOn(page)
    .trim()
    .split('\n')
    .filter((line) => !/^\|[- |]+\|$/.test(line));
  return lines.map((line) => {
    const [userland = '', ...others] = line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
    const [passed, failed, notApplicable, lastRun = ''] = others.slice(-4);
    return {
      userland,
      versions: others.slice(0, -4),
      passed: Number(passed),
      failed: Number(failed),
      notApplicable: Number(notApplicable),
      lastRun,
    };
  });
}

/** Returns the page with these rows in its table, in the order of `names`. Rows of userlands that did not run stay. */
export function updateTable(page: string, rows: readonly Row[], names: readonly string[]): string {
  const all = new Map([...parseTable(page), ...rows].map((row) => [row.userland, row]));
  const ordered = names.flatMap((name) => all.get(name) ?? []);
  return page.replace(tableOn(page), () => `\n\n${renderTable(ordered)}\n`);
}

/**
 * Returns how the results differ from the rows on the page. The number of tests and the date are not compared, because
 * every new test would change them.
 */
export function differences(page: string, rows: readonly Row[]): string[] {
  const compared = ({ versions, failed }: Row) => `versions ${versions.join(', ')}; failed ${failed}`;
  const shown = new Map(parseTable(page).map((row) => [row.userland, compared(row)]));
  return rows
    .filter((row) => shown.get(row.userland) !== compared(row))
    .map(
      (row) => `${row.userland}: ${compared(row)}, but the page shows ${shown.get(row.userland) ?? 'no row'}`,
    );
}

function tableOn(page: string): string {
  const from = page.indexOf(start);
  const to = page.indexOf(end);
  if (from < 0 || to < from) throw new Error(`the page has no lines ${start} and ${end}`);
  return page.slice(from + start.length, to);
}
