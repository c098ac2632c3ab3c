import { measureColdStarts, type ColdStart } from './cold-start';
import type { AwsCalls } from './aws-fleet';
import { measureGcpBackfill, measureGcpSweep, type GcpRuns } from './gcp-backfill';
import { measureGcpRace } from './gcp-race';
import { measureStorm } from './aws-storm';
import { measureSweep } from './aws-sweep';
import { measureIdleWatch, type IdleWatch } from './idle-watch';
import { measureNodeSpeed, printNodeSpeed } from './node-speed';

type ColdStarts = Awaited<ReturnType<typeof measureColdStarts>>[number];
type Storm = Awaited<ReturnType<typeof measureStorm>>;
type Sweep = Awaited<ReturnType<typeof measureSweep>>;
type Race = Awaited<ReturnType<typeof measureGcpRace>>;

/**
 * Measures all performance figures: `npm run bench`. With `-- --json`, it prints a single JSON document to stdout. With
 * `-- --node`, it measures only the speed of the node program.
 */
async function main(): Promise<void> {
  if (process.argv.includes('--node')) {
    printNodeSpeed(await measureNodeSpeed());
    return;
  }
  const figures = {
    coldStarts: await measureColdStarts(10),
    storms: [
      await measureStorm('agents online', 0),
      await measureStorm('agents that register within 60 s', 60_000),
    ],
    sweep: await measureSweep(),
    gcp: {
      backfill: await measureGcpBackfill(),
      sweep: await measureGcpSweep(),
      races: [
        await measureGcpRace(20, 0),
        await measureGcpRace(20, 2_000),
        await measureGcpRace(100, 2_000, true),
      ],
    },
    idleWatch: await measureIdleWatch(),
    nodeSpeed: await measureNodeSpeed(),
  };
  if (process.argv.includes('--json')) {
    console.log(JSON.stringify(figures, null, 2));
    return;
  }
  figures.coldStarts.forEach(printColdStart);
  figures.storms.forEach(printStorm);
  printSweep(figures.sweep);
  printRuns('A backfill on Google Cloud', figures.gcp.backfill);
  printRuns('A converged sweep on Google Cloud', figures.gcp.sweep);
  figures.gcp.races.forEach(printRace);
  printIdleWatch(figures.idleWatch);
  printNodeSpeed(figures.nodeSpeed);
}

function printColdStart({ name, rounds, plain, pruned, ratio }: ColdStarts): void {
  console.log(`${name}, import and first call, ${rounds} pairs`);
  console.log(`  plain   ${print(plain)}\n  pruned  ${print(pruned)}\n  ${ratio.toFixed(1)} times faster\n`);
}

function printStorm({ name, nodes, proven, deadLetters, seconds, calls }: Storm): void {
  console.log(`${nodes} nodes join within 10 s, ${name}`);
  console.log(`  ${proven} proven in ${seconds.toFixed(1)} s, ${deadLetters} dead letters`);
  console.log(`  ${printCalls(calls)}\n`);
}

function printSweep({ nodes, proven, seconds, calls }: Sweep): void {
  console.log(`A sweep of ${nodes} nodes, ${proven} of them already proven: ${seconds.toFixed(1)} s`);
  console.log(`  ${printCalls(calls)}\n`);
}

function printRace({ inserts, isStorm, visibleAfterMs, ms }: Race): void {
  const how = `${inserts} inserts, ${isStorm ? 'all at once' : 'one after another'}`;
  console.log(
    `Time from audit log entry to metadata, ${how}, each instance visible after ${visibleAfterMs} ms`,
  );
  console.log(`  ${ms.median} ms (${ms.min} to ${ms.max})\n`);
}

const print = ({ ms, rssMb, kb }: ColdStart): string =>
  `${ms.median} ms (${ms.min} to ${ms.max}), ${rssMb.median} MB resident, ${kb} KB`;

function printIdleWatch({ rounds, seconds, cpuSecondsPerHour, processesPerHour, rssMb }: IdleWatch): void {
  console.log(
    `watch on an idle node, ${rounds} rounds in ${seconds.toFixed(0)} s, extrapolated to 60 rounds per hour`,
  );
  console.log(
    `  ${cpuSecondsPerHour.toFixed(1)} CPU seconds and ${processesPerHour} processes per hour, ${rssMb.toFixed(0)} MB peak memory`,
  );
}

function printCalls({ ec2AndSsm, sqs, byAction, callsOverLimit }: AwsCalls): string {
  const each = Object.entries(byAction).map(([action, count]) => `${action} ${count}`);
  return [
    `${ec2AndSsm} calls to EC2 and SSM, ${callsOverLimit} of them throttled; ${sqs} calls to SQS`,
    `  (${each.join(', ')})`,
  ].join('\n  ');
}

function printRuns(name: string, { nodes, proven, runs, seconds, peakMb, calls }: GcpRuns): void {
  const each = Object.entries(calls.byMethod).map(([method, count]) => `${method} ${count}`);
  console.log(
    `${name}: ${proven} of ${nodes} nodes proven in ${seconds.toFixed(1)} s, ${runs} runs, ${peakMb} MB peak memory`,
  );
  console.log(
    `  ${calls.all} calls, ${calls.callsOverLimit} of them over a rate quota\n  (${each.join(', ')})\n`,
  );
}

main().catch((error: unknown) => {
  console.error(error);
  // A local cloud that is still open would keep the process running.
  process.exit(1);
});
