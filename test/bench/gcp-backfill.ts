import * as z from 'zod';
import { addFleetNode, countGcpCalls, openGcpFleet, type GcpCalls, type GcpFleet } from './gcp-fleet';

/** The result of running the backfill function on Google Cloud until all nodes are proven, at most five times. */
export interface GcpRuns {
  readonly nodes: number;
  readonly proven: number;
  readonly runs: number;
  readonly seconds: number;
  /** The peak memory of the function, in megabytes. */
  readonly peakMb: number;
  readonly calls: GcpCalls;
}

const backfillNodes = 1_000;
const sweepNodes = 10_000;
const maxRuns = 5;

/** Measures how long a backfill takes to prove 1,000 existing nodes. */
export async function measureGcpBackfill(): Promise<GcpRuns> {
  const fleet = await openGcpFleet('backfill');
  try {
    for (let made = 0; made < backfillNodes; made += 1) addFleetNode(fleet.cloud);
    return await measure(fleet, {});
  } finally {
    await fleet.close();
  }
}

/** Measures a sweep of 10,000 nodes that are already proven. */
export async function measureGcpSweep(): Promise<GcpRuns> {
  const fleet = await openGcpFleet('backfill');
  try {
    const first = addFleetNode(fleet.cloud);
    await post(fleet, {});
    // The second run records whether the pushes of the first run succeeded.
    await post(fleet, {});
    // Copies the first node's metadata, labels and report to all other nodes to mark them as proven.
    const { metadata, labels, guestAttributes } = first;
    for (let made = 1; made < sweepNodes; made += 1)
      addFleetNode(fleet.cloud, { metadata, labels, guestAttributes });
    fleet.cloud.calls.length = 0;
    return await measure(fleet, { skipNewNodes: true });
  } finally {
    await fleet.close();
  }
}

async function measure(fleet: GcpFleet, body: object): Promise<GcpRuns> {
  const nodes = fleet.cloud.vms.length;
  const startedAt = performance.now();
  let [runs, proven] = [0, 0];
  while (proven < nodes && runs < maxRuns) {
    proven = await post(fleet, body);
    runs += 1;
  }
  const seconds = (performance.now() - startedAt) / 1_000;
  return { nodes, proven, runs, seconds, peakMb: fleet.running.peakMb(), calls: countGcpCalls(fleet) };
}

const answerSchema = z.object({ counts: z.record(z.string(), z.number()) });

/**
 * Runs the backfill function once.
 * @returns the number of proven nodes
 */
async function post({ running }: GcpFleet, body: object): Promise<number> {
  const response = await fetch(running.url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`Backfill responded with ${response.status}: ${await response.text()}`);
  return answerSchema.parse(await response.json()).counts['proven'] ?? 0;
}
