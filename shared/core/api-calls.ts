export interface ApiCalls {
  readonly calls: number;
  readonly throttles: number;
}

/** Counts the calls of a process; each attempt counts, as it does for the cloud. */
export interface Tally {
  called(): void;
  throttled(): void;
  /** How many there were since this was last asked. */
  take(): ApiCalls;
}

export function makeTally(): Tally {
  let since = { calls: 0, throttles: 0 };
  return {
    called: () => {
      since.calls += 1;
    },
    throttled: () => {
      since.throttles += 1;
    },
    take: () => {
      const taken = since;
      since = { calls: 0, throttles: 0 };
      return taken;
    },
  };
}
