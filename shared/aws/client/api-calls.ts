import { makeApiCallCounter } from '../../core/util/api-call-counter';
import { isThrottle } from './throttles';

/** Of the process: a function serves one invocation at a time. */
export const apiCalls = makeApiCallCounter();

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
      apiCalls.countCall();
      try {
        return await next(args);
      } catch (error) {
        if (isThrottle(error)) apiCalls.countThrottle();
        throw error;
      }
    },
    { step: 'finalizeRequest', priority: 'low', name: 'peermasqCountsCalls' },
  );
  return client;
}
