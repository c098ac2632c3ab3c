export interface ApiCalls {
  readonly calls: number;
  readonly throttles: number;
}

/** Counts the calls of a process; each attempt counts, as it does for the cloud. */
export interface ApiCallCounter {
  countCall(): void;
  countThrottle(): void;
  /** How many there were since this was last asked. */
  take(): ApiCalls;
}

export function makeApiCallCounter(): ApiCallCounter {
  let counts = { calls: 0, throttles: 0 };
  return {
    countCall: () => {
      counts.calls += 1;
    },
    countThrottle: () => {
      counts.throttles += 1;
    },
    take: () => {
      const taken = counts;
      counts = { calls: 0, throttles: 0 };
      return taken;
    },
  };
}
