import { startHost, type Host, type HostSettings, type Invocation } from './host';

/** A deployed function: its processes stay warm between invocations. */
export interface LabFunction {
  /** @throws Error as Host does */
  invoke(event: unknown): Promise<Invocation>;
  close(): Promise<void>;
}

export interface FunctionSettings extends HostSettings {
  /** Is told of each invocation that came to its end. */
  readonly invoked?: (invocation: Invocation) => void;
}

export function makeFunction(settings: FunctionSettings): LabFunction {
  const all = new Set<Host>();
  const idle: Host[] = [];

  function take(): Host {
    const warm = idle.pop();
    if (warm) return warm;
    const host = startHost(settings);
    all.add(host);
    return host;
  }
  async function giveBack(host: Host): Promise<void> {
    if (host.isAlive) {
      idle.push(host);
      return;
    }
    all.delete(host);
    await host.close();
  }

  return {
    async invoke(event) {
      const host = take();
      try {
        const invocation = await host.invoke(event);
        settings.invoked?.(invocation);
        return invocation;
      } finally {
        await giveBack(host);
      }
    },
    async close() {
      await Promise.all([...all].map((host) => host.close()));
    },
  };
}
