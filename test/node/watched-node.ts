import { join } from 'node:path';
import type { Host, RunningProcess } from '../lab/netns';
import { program, type Report } from './network';

const port = 8000;

export interface ServerInstruction {
  readonly set?: Record<string, string | null>;
  readonly fail?: number;
  readonly verb?: string;
  readonly key?: string;
}

/** Returns a metadata server on a node, and the node program that watches it. The node does not have to exist yet. */
export function watchedNode(node: () => Host) {
  let server: RunningProcess | undefined;
  let watching: RunningProcess | undefined;
  let seen = 0;
  const running = () => {
    if (!server) throw new Error('serve() comes first');
    return server;
  };
  const env = (more: Record<string, string> = {}) => ({
    PEERMASQ_DIR: join(node().folder, 'kept'),
    PEERMASQ_PERSIST: '0',
    PEERMASQ_INTERVAL: '60',
    GCE_METADATA_HOST: `127.0.0.1:${port}`,
    ...more,
  });
  /** Returns the next matching request after the last request that was returned. */
  const request = async (pattern: RegExp) => {
    const match = await running().output(new RegExp(`^[^]{${seen}}[^]*?${pattern.source}`));
    seen = match[0].length;
    return match;
  };
  return {
    env,
    request,
    server: running,
    serve: async () => {
      server = node().spawn([process.execPath, join(__dirname, 'metadata.mjs'), String(port)]);
      await server.output(/listening/);
      seen = 0;
    },
    order: (what: ServerInstruction) =>
      node().run(['curl', '-s', '-d', '@-', `http://127.0.0.1:${port}/order`], {
        stdin: JSON.stringify(what),
      }),
    watch: (more: Record<string, string> = {}, file = program) => {
      watching = node().spawn(['bash', file, 'watch'], { env: env(more) });
      return watching;
    },
    /** Returns the next report that is written. */
    status: async () => JSON.parse((await request(/PUT \S+ (\{.*\})\n/))[1] ?? '') as Report,
    stop: async () => {
      await Promise.all([watching?.stop(), server?.stop()]);
      watching = undefined;
    },
  };
}
