import { once } from 'node:events';
import { deliver } from '../lab/gcp/functions';
import { insertVm } from '../lab/gcp/insert';
import { metadataOf } from '../lab/gcp/state';
import { fleetNode, openGcpFleet, type GcpFleet } from './gcp-fleet';
import { spread, type Spread } from './spread';

/** Milliseconds from the first entry of an insert to the arrival of setMetadata. */
export interface GcpRace {
  readonly inserts: number;
  /** How long after the entry the API knows the instance. */
  readonly visibleAfterMs: number;
  readonly ms: Spread;
}

const inserts = 20;
const runningAfterMs = 5_000;

export async function measureGcpRace(visibleAfterMs: number): Promise<GcpRace> {
  const fleet = await openGcpFleet('nodeJoined');
  try {
    const [times, deliveries] = [[] as number[], [] as Promise<void>[]];
    for (let made = 0; made < inserts; made += 1) {
      const { ms, delivery } = await insert(fleet, visibleAfterMs);
      times.push(ms);
      deliveries.push(delivery);
    }
    await Promise.all(deliveries);
    return { inserts, visibleAfterMs, ms: spread(times) };
  } finally {
    await fleet.close();
  }
}

/** Returns when the metadata is set; the function goes on until the node has proven its rules. */
async function insert({ cloud, running }: GcpFleet, visibleAfterMs: number) {
  const { vm, beganAt, first } = insertVm(cloud, fleetNode(), { visibleAfterMs, runningAfterMs });
  const delivery = deliver(running, first).then((status) => {
    if (status >= 300) throw new Error(`The function answered ${status}`);
  });
  const isSet = () => metadataOf(vm, 'startup-script') !== undefined;
  while (!isSet()) await Promise.race([once(cloud.changes, 'change'), delivery]);
  return { ms: Date.now() - beganAt, delivery };
}
