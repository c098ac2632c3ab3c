import { measureColdStarts, type ColdStart } from './cold-start';
import type { Calls } from './fleet';
import { measureGcpBackfill, measureGcpSweep, type GcpPasses } from './gcp-backfill';
import { measureGcpRace } from './gcp-race';
import { measureStorm } from './storm';
import { measureSweep } from './sweep';

/** Every performance figure, in one run: `npm run bench`; with `-- --json` one document on stdout. */
async function main(): Promise<void> {
  const coldStarts = await measureColdStarts(10);
  const storms = [
    await measureStorm('agents online', 0),
    await measureStorm('agents that register within 60 s', 60_000),
  ];
  const sweep = await measureSweep();
  const gcp = {
    backfill: await measureGcpBackfill(),
    sweep: await measureGcpSweep(),
    races: [await measureGcpRace(0), await measureGcpRace(2_000)],
  };
  if (process.argv.includes('--json')) {
    console.log(JSON.stringify({ coldStarts, storms, sweep, gcp }, null, 2));
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
  printPasses('A backfill on Google Cloud', gcp.backfill);
  printPasses('A converged sweep on Google Cloud', gcp.sweep);
  for (const { inserts, visibleAfterMs, ms } of gcp.races) {
    console.log(
      `From the first entry of an insert to its metadata, instance known after ${visibleAfterMs} ms, ${inserts} inserts`,
    );
    console.log(`  ${ms.median} ms (${ms.min} to ${ms.max})`);
  }
}

const print = ({ ms, rssMb, kb }: ColdStart): string =>
  `${ms.median} ms (${ms.min} to ${ms.max}), ${rssMb.median} MB resident, ${kb} KB`;

function printCalls({ ec2AndSsm, sqs, byAction, overdrawn }: Calls): string {
  const each = Object.entries(byAction).map(([action, count]) => `${action} ${count}`);
  return [
    `${ec2AndSsm} calls to EC2 and SSM, ${overdrawn} beyond a token bucket; ${sqs} to SQS`,
    `  (${each.join(', ')})`,
  ].join('\n  ');
}

function printPasses(name: string, { nodes, proven, passes, seconds, peakMb, calls }: GcpPasses): void {
  const each = Object.entries(calls.byMethod).map(([method, count]) => `${method} ${count}`);
  console.log(
    `${name}: ${proven} of ${nodes} nodes proven in ${seconds.toFixed(1)} s, ${passes} passes, ${peakMb} MB at most`,
  );
  console.log(`  ${calls.all} calls, ${calls.overdrawn} beyond a rate quota\n  (${each.join(', ')})\n`);
}

main().catch((error: unknown) => {
  console.error(error);
  // Doubles may still be listening.
  process.exit(1);
});
