import * as z from 'zod';
import type { Fields } from './query-protocol';
import { AwsApiError } from './api-error';
import { paginate, type AwsState } from './state';

/** An action of EC2. */

export type Action = (state: AwsState, fields: Fields) => object;

export const strings = z.array(z.string());
export const filters = z.array(z.strictObject({ Name: z.string(), Value: strings })).default([]);
export const page = { MaxResults: z.coerce.number().int().optional(), NextToken: z.string().optional() };
type Filter = z.infer<typeof filters>[number];
type Page = { readonly MaxResults?: number | undefined; readonly NextToken?: string | undefined };

/** The supported filters. Each returns the values of a resource with which the filter is compared. */
export type Filterable<T> = Readonly<Record<string, (one: T, state: AwsState) => readonly string[]>>;

/** Returns the pattern for a filter value, in which `*` and `?` are wildcards. */
function asPattern(value: string): RegExp {
  const escaped = value.replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`);
  return new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`, 's');
}

function select<T>(all: Iterable<T>, request: readonly Filter[], known: Filterable<T>, state: AwsState): T[] {
  if (request.reduce((sum, { Value }) => sum + Value.length, 0) > 200) {
    throw new AwsApiError(
      'FilterLimitExceeded',
      'The maximum number of filter values specified on a single call is 200',
    );
  }
  return request.reduce<T[]>(
    (left, { Name, Value }) => {
      const valuesOf = known[Name];
      if (!valuesOf) throw new AwsApiError('InvalidParameterValue', `The filter '${Name}' is invalid`);
      const patterns = Value.map(asPattern);
      return left.filter((one) =>
        valuesOf(one, state).some((has) => patterns.some((wanted) => wanted.test(has))),
      );
    },
    [...all],
  );
}

/** Filters resources and returns one page. */
export function listPage<T>(
  state: AwsState,
  all: Iterable<T>,
  request: Page & { readonly Filter: readonly Filter[] },
  known: Filterable<T>,
  maxResults: number,
): { items: T[]; nextToken?: string } {
  const { MaxResults = maxResults } = request;
  if (MaxResults < 5 || MaxResults > maxResults) {
    throw new AwsApiError(
      'InvalidParameterValue',
      `Value ( ${MaxResults} ) for parameter maxResults is invalid. Expecting a value between 5 and ${maxResults}.`,
    );
  }
  const size = Math.min(MaxResults, state.pageSize);
  const [items, nextToken] = paginate(select(all, request.Filter, known, state), request.NextToken, size);
  return { items, ...(nextToken !== undefined && { nextToken }) };
}

export const list = (item: unknown[]) => (item.length === 0 ? '' : { item });
