const rawResponse = Symbol.for('google-gax.rawHttpResponsePayload');
const response = (code: number, reason: string, message: string) => ({
  error: { code, message, errors: [{ message, domain: 'global', reason }] },
});

export interface HttpError {
  readonly status: number;
  readonly reason: string;
  readonly message?: string;
}

/**
 * Returns an error in the form in which version 7 of the client throws errors: with the gRPC code, the HTTP status, and
 * the text of the response under a symbol.
 */
export const googleError = (code: number, { status, reason, message = 'x' }: HttpError) =>
  Object.assign(new Error(message), {
    code,
    httpStatusCode: status,
    [rawResponse]: JSON.stringify(response(status, reason, message)),
  });

/**
 * Returns an error with the HTTP status as `status` and `code`. Version 6 of the client throws errors in this form, and
 * so does the credentials library with either version of the client.
 */
export const gaxiosError = ({ status, reason, message = 'x' }: HttpError) =>
  Object.assign(new Error(message), {
    status,
    code: status,
    response: { status, data: response(status, reason, message) },
  });

export const badGateway = Object.assign(new Error('Bad Gateway'), {
  httpStatusCode: 502,
  [rawResponse]: '<html>',
});

/** The error for a broken connection, as version 7 of the client reports it. */
export const connectionReset = Object.assign(new Error('socket hang up'), { code: 14 });
