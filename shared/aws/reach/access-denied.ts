import { PeermasqError } from '../../core/model/errors';

export const isAccessDenied = (error: unknown): error is PeermasqError =>
  error instanceof PeermasqError && error.code === 'access-denied';

/** Undefined in place of what these credentials may not read. */
export async function undefinedIfDenied<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (isAccessDenied(error)) return undefined;
    throw error;
  }
}
