import { measureColdStarts, type ColdStart } from './cold-start';
import type { Calls } from './fleet';
import { measureStorm } from './storm';
import { measureSweep } from './sweep';
import { measureIdleWatch, type IdleWatch } from './watch';

/** Every performance figure, in one run: `npm run bench`; with `-- --json` one document on stdout. */
async function main(): Promise<void> {
  const coldStarts = await measureColdStarts(10);
  const storms = [
    await measureStorm('agents online', 0),
    await measureStorm('agents that register within 60 s', 60_000),
  ];
  const sweep = await measureSweep();
  const idleWatch = await measureIdleWatch();
  if (process.argv.includes('--json')) {
    console.log(JSON.stringify({ coldStarts, storms, sweep, idleWatch }, null, 2));
    return;
  }
  for (const { name, rounds, plain, pruned, ratio } of coldStarts) {
    console.log(`${name}, import and first call, ${rounds} pairs`);
    console.log(
      `  plain   ${print(plain)}\n  pruned  ${print(pruned)}\n  ${ratio.toFixed(1)} times faster\n`,
    );
  }
  for (const { name, nodes, proven, deadLetters, seconds, calls } of storms) {
    console.log(`${nodes} nodes join within 10 s, ${name}`);
    console.log(`  ${proven} proven in ${seconds.toFixed(1)} s, ${deadLetters} dead letters`);
    console.log(`  ${printCalls(calls)}\n`);
  }
  const { nodes, proven, seconds, calls } = sweep;
  console.log(`A sweep of ${nodes} nodes, ${proven} of them proven already: ${seconds.toFixed(1)} s`);
  console.log(`  ${printCalls(calls)}\n`);
  printIdleWatch(idleWatch);
}

const print = ({ ms, rssMb, kb }: ColdStart): string =>
  `${ms.median} ms (${ms.min} to ${ms.max}), ${rssMb.median} MB resident, ${kb} KB`;

function printIdleWatch({ rounds, seconds, cpuSecondsPerHour, processesPerHour, rssMb }: IdleWatch): void {
  console.log(
    `watch on a node where nothing changes, from ${rounds} rounds in ${seconds.toFixed(0)} s; an hour has 60`,
  );
  console.log(
    `  ${cpuSecondsPerHour.toFixed(1)} CPU seconds and ${processesPerHour} processes an hour, ${rssMb.toFixed(0)} MB resident at most`,
  );
}

function printCalls({ ec2AndSsm, sqs, byAction, overdrawn }: Calls): string {
  const each = Object.entries(byAction).map(([action, count]) => `${action} ${count}`);
  return [
    `${ec2AndSsm} calls to EC2 and SSM, ${overdrawn} beyond a token bucket; ${sqs} to SQS`,
    `  (${each.join(', ')})`,
  ].join('\n  ');
}

main().catch((error: unknown) => {
  console.error(error);
  // Doubles may still be listening.
  process.exit(1);
});
