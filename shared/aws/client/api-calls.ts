import { makeApiCallCounter } from '../../core/util/api-call-counter';
import { isThrottle } from './errors';

/** For the whole process: a function handles one invocation at a time. */
export const apiCalls = makeApiCallCounter();

type Next = (args: never) => Promise<unknown>;

/** The part of an SDK client that is used here. */
interface Countable {
  readonly middlewareStack: {
    add(
      middleware: (next: Next) => Next,
      options: { step: 'finalizeRequest'; priority: 'low'; name: string },
    ): void;
  };
}

/** Counts every attempt: the retries of the SDK come before this middleware in the same step. */
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
