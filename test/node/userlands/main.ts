import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { format, resolveConfig } from 'prettier';
import { debianSystem } from '../../lab/debian';
import { runTests } from './run-tests';
import { differences, renderTable, type Row, updateTable } from './table';
import { packages, type Userland, userlands } from './userlands';

const usage = `Usage: npm run test:userlands -- [OPTION…] [TEST…]
Runs the tests of the node program with the programs of each userland, and prints a table of versions and results.
Needs root, for debootstrap and chroot. The systems are kept in .cache/userlands.
  TEST             a file or folder of tests (default: test/node)
  --only NAME      run one userland, such as 'Debian 11'; may be repeated
  --bash FILE      replace the bash of every userland by this one
  --rebuild        build the systems again, with the current packages
  --write          write the results to docs/versions.md
  --help           print this text
Userlands: ${userlands.map(({ name }) => name).join('; ')}`;

const page = 'docs/versions.md';
const cache = '.cache/userlands';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string', multiple: true },
    bash: { type: 'string' },
    rebuild: { type: 'boolean' },
    write: { type: 'boolean' },
    help: { type: 'boolean' },
  },
});

async function main(): Promise<void> {
  if (values.help === true) {
    console.log(usage);
    return;
  }
  if (process.getuid?.() !== 0) throw new Error('needs root, for debootstrap and chroot: use sudo');
  const included = chosenUserlands();
  const suites = new Set(included.map(({ suite }) => suite));
  if (values.rebuild === true) for (const suite of suites) rmSync(join(cache, suite), { recursive: true });
  const rows: Row[] = [];
  for (const userland of included) {
    const row = await test(userland);
    if (process.exitCode === 130) return;
    rows.push(row);
  }
  console.log(`\n${await formatMarkdown(renderTable(rows))}`);
  if (rows.some(({ failed }) => failed > 0)) process.exitCode = 1;
  // A row of the page is about all tests, with the bash of the userland.
  if (positionals.length === 0 && values.bash === undefined) await comparePage(rows);
}

function chosenUserlands(): readonly Userland[] {
  const unknown = values.only?.find((name) => !userlands.some((each) => each.name === name));
  if (unknown !== undefined) throw new Error(`there is no userland ${unknown}\n${usage}`);
  return userlands.filter(({ name }) => values.only?.includes(name) ?? true);
}

async function test(userland: Userland): Promise<Row> {
  const system = await debianSystem(join(cache, userland.suite), { suite: userland.suite, packages });
  const bash = values.bash === undefined ? undefined : resolve(values.bash);
  console.log(`${userland.name}: running`);
  const tests = positionals.length > 0 ? positionals : ['test/node'];
  const { row, failures, log } = await runTests({ userland, system, bash }, tests);
  console.log(`${userland.name}: ${row.passed} passed, ${row.failed} failed (${log})`);
  for (const name of failures) console.log(`  failed: ${name}`);
  return row;
}

async function comparePage(rows: readonly Row[]): Promise<void> {
  const text = readFileSync(page, 'utf8');
  if (values.write === true) {
    const names = userlands.map(({ name }) => name);
    // The page shows only userlands in which all tests passed.
    const passed = rows.filter(({ failed }) => failed === 0);
    writeFileSync(page, await formatMarkdown(updateTable(text, passed, names)));
    return;
  }
  const different = differences(text, rows);
  if (different.length === 0) return;
  console.error(`${different.join('\n')}\nUpdate ${page} with -- --write`);
  process.exitCode = 1;
}

const formatMarkdown = async (text: string) =>
  format(text, { ...(await resolveConfig(page)), parser: 'markdown' });

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode ??= 1;
});
