import { once } from 'node:events';
import { deliverEvent } from '../lab/gcp/function';
import { insertVm } from '../lab/gcp/insert';
import { metadataOf } from '../lab/gcp/state';
import { fleetNode, openGcpFleet, type GcpFleet } from './gcp-fleet';
import { spread, type Spread } from './spread';

/** How quickly a new VM gets its metadata: the time from the insert's first audit log entry to the metadata change. */
export interface GcpRace {
  readonly inserts: number;
  /** Whether all inserts start at the same time. Otherwise, they run one after another. */
  readonly isStorm: boolean;
  /** The time in milliseconds from the audit log entry until the instance is visible in the API. */
  readonly visibleAfterMs: number;
  readonly ms: Spread;
}

const runningAfterMs = 5_000;

export async function measureGcpRace(
  inserts: number,
  visibleAfterMs: number,
  isStorm = false,
): Promise<GcpRace> {
  const fleet = await openGcpFleet('nodeJoined');
  const one = () => insert(fleet, visibleAfterMs);
  try {
    const made = isStorm ? await Promise.all(Array.from({ length: inserts }, one)) : await each(inserts, one);
    await Promise.all(made.map(({ delivery }) => delivery));
    return { inserts, isStorm, visibleAfterMs, ms: spread(made.map(({ ms }) => ms)) };
  } finally {
    await fleet.close();
  }
}

async function each<T>(times: number, make: () => Promise<T>): Promise<T[]> {
  const made: T[] = [];
  while (made.length < times) made.push(await make());
  return made;
}

/**
 * Inserts an instance and waits until its metadata is set. `delivery` resolves later, once the function has responded.
 */
async function insert({ cloud, running }: GcpFleet, visibleAfterMs: number) {
  const { vm, beganAt, first } = insertVm(cloud, fleetNode(), { visibleAfterMs, runningAfterMs });
  const delivery = deliverEvent(running, first).then((status) => {
    if (status >= 300) throw new Error(`The function responded with ${status}`);
  });
  const isSet = () => metadataOf(vm, 'startup-script') !== undefined;
  while (!isSet()) await Promise.race([once(cloud.changes, 'change'), delivery]);
  return { ms: Date.now() - beganAt, delivery };
}
