import { GcpApiError } from './compute-input';
import type { Method } from './compute-method';
import type { InjectedErrorKind } from './state';

/** An error that makes the API reset the connection. */
export class ConnectionReset extends Error {}
/** An error that makes the API leave a request without a response. */
export class NoResponse extends Error {}

/** Returns the API's error for an exceeded quota, with the wording seen in scylladb/scylla-cluster-tests#7940. */
export const quotaExceeded = (
  { metric, limit }: { readonly metric: string; readonly limit: string },
  projectNumber = '0',
): GcpApiError =>
  new GcpApiError(
    403,
    'rateLimitExceeded',
    `Quota exceeded for quota metric '${metric}' and limit '${limit}' of service 'compute.googleapis.com' for consumer 'project_number:${projectNumber}'.`,
    'usageLimits',
  );

export function throwInjectedError(kind: InjectedErrorKind, { name }: Method, pathname: string): never {
  switch (kind) {
    case 'quota':
      throw quotaExceeded({ metric: 'Read requests', limit: 'Read requests per minute' });
    case 'permission':
      throw new GcpApiError(
        403,
        'forbidden',
        `Required '${permissionOf(name)}' permission for '${resourceOf(pathname)}'`,
      );
    case 'unavailable':
      throw new GcpApiError(503, 'backendError', 'The service is currently unavailable.');
    case 'reset':
      throw new ConnectionReset();
    case 'no-response':
      throw new NoResponse();
  }
}

/** Returns the resource that a call's path refers to. */
const resourceOf = (pathname: string): string =>
  pathname
    .replace('/compute/v1/', '')
    .replace(/\/aggregated\/\w+$/, '')
    .replace(
      /\/(setMetadata|setLabels|reset|getGuestAttributes|getEffectiveFirewalls|getRouterStatus|listPeeringRoutes|wait)$/,
      '',
    );

const permissionOf = (method: string): string =>
  method.replace('aggregatedList', 'list').replace(/\.(wait|getRouterStatus)$/, '.get');
