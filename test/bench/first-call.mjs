// Loads a bundled function in a new process and calls it once. Usage: `node first-call.mjs BUNDLE`. Reads {"event",
// "context"} from stdin, and writes {"loadMs","callMs","rssMb"} to file descriptor 3 and its log to stdout.
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { performance } from 'node:perf_hooks';
import { resolve } from 'node:path';
import { json } from 'node:stream/consumers';
// Loaded before the measurement starts, because Google's runtime loads it for every bundle, whether plain or pruned.
import { getFunction } from '@google-cloud/functions-framework/testing';

const { event, context } = await json(process.stdin);
const startedAt = performance.now();
const { handler } = createRequire(import.meta.url)(resolve(process.argv[2]));
const loadedAt = performance.now();
await (handler ?? getFunction('nodeJoined'))(event, { ...context, getRemainingTimeInMillis: () => 30_000 });
const answeredAt = performance.now();
const timing = {
  loadMs: loadedAt - startedAt,
  callMs: answeredAt - loadedAt,
  rssMb: process.memoryUsage.rss() / 1e6,
};
writeFileSync(3, JSON.stringify(timing));
// Lambda and Cloud Run freeze the process at this point. Here it must exit, because open sockets would keep it
// running.
process.exit(0);
