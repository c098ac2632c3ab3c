import { PermanentError } from '../../core/model/errors';

/** A read without permission, with the command that shows the data to someone who has it. */
export class AccessDenied extends Error {
  constructor(
    readonly error: PermanentError,
    readonly command: string,
  ) {
    super(error.message, { cause: error });
  }
}

export async function orThrowDenied<T>(command: string, reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof PermanentError && error.code === 'permission-denied')
      throw new AccessDenied(error, command);
    throw error;
  }
}

export async function orAccessDenied<T>(reading: Promise<T>): Promise<T | AccessDenied> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof AccessDenied) return error;
    throw error;
  }
}
