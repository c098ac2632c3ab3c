import { invalid, notFound } from './compute-input';
import type { GcpState } from './state';

export interface MethodCall {
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly body: unknown;
}

/** A method of the API. Its path and parameters come from the discovery document. */
export interface Method {
  readonly name: string;
  readonly verb: 'GET' | 'POST';
  /** The path, in which `{name}` matches one segment. */
  readonly path: string;
  readonly query: readonly string[];
  /**
   * Handles a call.
   * @returns the body of the response
   * @throws GcpApiError to respond with an error
   */
  handle(call: MethodCall): unknown;
}

export const listQuery = ['maxResults', 'pageToken', 'filter', 'orderBy', 'returnPartialSuccess'];
export const aggregatedQuery = [...listQuery, 'includeAllScopes', 'serviceProjectNumber'];

export function requireProject({ projects }: GcpState, project: string): void {
  if (!projects[project]) throw notFound(`projects/${project}`);
}

/** Returns one page of a list. */
export function paginate<T>(
  { pageSize }: GcpState,
  all: readonly T[],
  query: URLSearchParams,
): { part: readonly T[]; nextPageToken?: string } {
  const wanted = Number(query.get('maxResults') ?? 500);
  if (!(wanted >= 0 && wanted <= 500)) throw invalid(`Invalid value for field 'maxResults': '${wanted}'.`);
  const token = query.get('pageToken') ?? '';
  const start = token === '' ? 0 : Number(/^page-([0-9]+)$/.exec(token)?.[1] ?? Number.NaN);
  if (Number.isNaN(start)) throw invalid(`Invalid value for field 'pageToken': '${token}'.`);
  const end = start + Math.min(wanted || 500, pageSize);
  return { part: all.slice(start, end), ...(end < all.length ? { nextPageToken: `page-${end}` } : {}) };
}

/**
 * Applies the filter of a list. The lab supports only filters of the form `FIELD = "VALUE"`.
 * @param valuesOf maps each field that a filter may name to a function that returns a resource's values for it
 */
export function applyFilter<T>(
  all: readonly T[],
  query: URLSearchParams,
  valuesOf: Readonly<Record<string, (one: T) => readonly string[]>>,
): readonly T[] {
  const filter = query.get('filter');
  if (filter === null) return all;
  const [, field = '', value = ''] = /^([\w.]+) = "([^"]*)"$/.exec(filter) ?? [];
  const values = valuesOf[field];
  if (values) return all.filter((one) => values(one).includes(value));
  const known = Object.keys(valuesOf).map((name) => `${name} = "…"`);
  throw invalid(
    `Invalid value for field 'filter': '${filter}'. The lab supports ${known.join(', ') || 'none'}.`,
  );
}

/** Lists resources by scope. Every page has every scope. A scope without resources on the page has a warning. */
export function listAggregated<T extends { readonly project: string }>(
  cloud: GcpState,
  { params, query }: MethodCall,
  all: readonly T[],
  kind: string,
  scopeOf: (resource: T) => string,
  show: (resource: T) => unknown,
  valuesOf: Readonly<Record<string, (resource: T) => readonly string[]>> = {},
): unknown {
  const { project = '' } = params;
  requireProject(cloud, project);
  const own = applyFilter(
    all.filter((resource) => resource.project === project),
    query,
    valuesOf,
  );
  const { part, ...next } = paginate(cloud, own, query);
  const scopes = [...new Set(own.map(scopeOf))].map((scope) => {
    const resources = part.filter((resource) => scopeOf(resource) === scope).map(show);
    const warning = {
      code: 'NO_RESULTS_ON_PAGE',
      message: `There are no results for scope '${scope}' on this page.`,
    };
    return [scope, resources.length > 0 ? { [kind]: resources } : { warning }];
  });
  return { items: Object.fromEntries(scopes) as unknown, ...next };
}
