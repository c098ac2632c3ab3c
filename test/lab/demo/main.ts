import { parseArgs } from 'node:util';
import pc from 'picocolors';
import { runScenarios, toDocument } from './run-scenarios';
import { lateScenarios, scenarios } from './scenarios';
import type { Scenario } from './scenario';
import { openScreen } from './screen';

const usage = `Usage: npm run demo [-- [--late] [--json]]

Builds three small networks on this machine. In each, a pod's request hangs, an event fixes the node, and the
request is answered. The scenarios run concurrently, take about a minute, and are shown one after the other.
Nothing outside the networks changes.

  --late   only Google Cloud, with the event delivered after the node booted: the race is lost, reported,
           and fixed by a restart
  --json   one JSON document on stdout; progress on stderr
  --help   this text

Exit codes: 0 if every scenario went from unreachable to reachable, 1 if not, 2 for an invalid option.
`;

async function main(): Promise<number> {
  const options = readOptions();
  if ('error' in options) {
    process.stderr.write(`${options.error}\n\n${usage}`);
    return 2;
  }
  if (options.help) {
    process.stdout.write(usage);
    return 0;
  }
  const lab =
    process.env['PEERMASQ_LAB'] ?? 'no: it was started outside test/lab/enter.mjs; use npm run demo';
  if (lab !== 'yes') {
    process.stderr.write(`The demo needs network namespaces, which are not available here (${lab}).
Run it as root, or allow users to create namespaces: sysctl -w kernel.unprivileged_userns_clone=1 on Debian,
kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu. In a container: --privileged.
`);
    return 1;
  }
  return runDemo(options.late ? lateScenarios : scenarios, options.json);
}

async function runDemo(selected: readonly Scenario[], isJson: boolean): Promise<number> {
  const startedAt = performance.now();
  const stream = isJson ? process.stderr : process.stdout;
  const colours = pc.createColors(stream.isTTY && stream.hasColors());
  const results = await runScenarios(
    selected,
    (text) => stream.write(text),
    (write) => openScreen(write, colours, stream.columns),
  );
  const errors = results.flatMap(({ scenario, errors }) =>
    errors.map((error) => `${scenario.name}: ${error}\n`),
  );
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  if (isJson) process.stdout.write(`${JSON.stringify(toDocument(results), null, 2)}\n`);
  if (errors.length > 0) {
    process.stderr.write(`\nThe demo failed, after ${seconds} s:\n${errors.join('')}`);
    return 1;
  }
  const verdict = `${results.length} of ${results.length} scenarios went from unreachable to reachable`;
  stream.write(
    `\n${colours.bold(colours.green(verdict))} in ${seconds} s. Nothing is left on this machine.\n`,
  );
  return 0;
}

function readOptions(): { late: boolean; json: boolean; help: boolean } | { error: string } {
  try {
    const boolean = { type: 'boolean', default: false } as const;
    return parseArgs({ options: { late: boolean, json: boolean, help: boolean } }).values;
  } catch (error) {
    return { error: (error as Error).message };
  }
}

void main().then((code) => {
  process.exitCode = code;
});
