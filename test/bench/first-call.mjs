// Loads a bundled function in a new process and calls it once: `node first-call.mjs BUNDLE`, {"event",
// "context"} on stdin, {"loadMs","callMs","rssMb"} on file descriptor 3, its log on stdout.
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { performance } from 'node:perf_hooks';
import { resolve } from 'node:path';
import { json } from 'node:stream/consumers';
// Loaded before the clock starts, because Google's builder starts it with any bundle.
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
// Lambda and Cloud Run freeze the process here; open sockets would keep it alive.
process.exit(0);
