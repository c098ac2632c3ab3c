import { isThrottle } from './throttles';

export interface ApiCalls {
  readonly calls: number;
  readonly throttles: number;
}

/** Of the process: a function serves one invocation at a time. */
let since = { calls: 0, throttles: 0 };

/** How many calls were made since this was last asked; each attempt counts, as it does for AWS. */
export function takeApiCalls(): ApiCalls {
  const taken = since;
  since = { calls: 0, throttles: 0 };
  return taken;
}

type Next = (args: never) => Promise<unknown>;

/** As much of an SDK client as counting takes. */
interface Countable {
  readonly middlewareStack: {
    add(
      middleware: (next: Next) => Next,
      options: { step: 'finalizeRequest'; priority: 'low'; name: string },
    ): void;
  };
}

/** Counts inside the SDK's retries, which stand before it in the same step. */
export function countCalls<Client>(client: Client): Client {
  (client as Countable).middlewareStack.add(
    (next) => async (args) => {
      since.calls += 1;
      try {
        return await next(args);
      } catch (error) {
        if (isThrottle(error)) since.throttles += 1;
        throw error;
      }
    },
    { step: 'finalizeRequest', priority: 'low', name: 'peermasqCountsCalls' },
  );
  return client;
}
