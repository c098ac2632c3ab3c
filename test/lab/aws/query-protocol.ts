import XMLBuilder from 'fast-xml-builder';
import * as z from 'zod';
import { AwsApiError } from './api-error';

/**
 * A request in a query protocol, which sends form fields and receives XML. EC2 has its own variant; the other
 * services share one.
 */
export type Fields = { readonly [key: string]: string | Fields | (string | Fields)[] };

/** Parses form fields: `Filter.1.Value.2=x` becomes `{Filter: [{Value: [undefined, 'x']}]}`. */
export function readQuery(body: string): { action: string; fields: Fields } {
  const root: Record<string, unknown> = {};
  for (const [path, value] of new URLSearchParams(body)) {
    const steps = path.split('.');
    const last = steps.pop() ?? '';
    let at = root;
    for (const step of steps) at = (at[step] ??= {}) as Record<string, unknown>;
    at[last] = value;
  }
  const action = String(root['Action']);
  delete root['Action'];
  delete root['Version'];
  return { action, fields: toLists(root) as Fields };
}

function toLists(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, inner]) => [key, toLists(inner)] as const);
  const isList = entries.length > 0 && entries.every(([key]) => /^[1-9][0-9]*$/.test(key));
  return isList ? entries.map(([, inner]) => inner) : Object.fromEntries(entries);
}

const builder = new XMLBuilder({ suppressEmptyNode: true });

export const xml = (value: object): string => builder.build(value);

/**
 * Handles one action of Auto Scaling or STS.
 * @returns the response as XML
 * @throws AwsRefusal
 */
export function handleQuery(
  actions: Readonly<Record<string, (fields: Fields) => object>>,
  action: string,
  fields: Fields,
  requestId: string,
): string {
  const act = Object.hasOwn(actions, action) ? actions[action] : undefined;
  if (!act) throw new AwsApiError('InvalidAction', `Could not find operation ${action}`);
  try {
    const ResponseMetadata = { RequestId: requestId };
    return xml({ [`${action}Response`]: { [`${action}Result`]: act(fields), ResponseMetadata } });
  } catch (error) {
    throw error instanceof z.ZodError ? toApiError(error) : error;
  }
}

function toApiError({ issues }: z.ZodError): AwsApiError {
  const messages = issues.map(({ path, message }) => `Value at '${path.join('.')}' failed: ${message}`);
  const count = `${messages.length} validation error${messages.length === 1 ? '' : 's'} detected`;
  return new AwsApiError('ValidationError', `${count}: ${messages.join('; ')}`);
}

export function queryError({ code, message, status }: AwsApiError, RequestId: string): string {
  const Type = status < 500 ? 'Sender' : 'Receiver';
  return xml({ ErrorResponse: { Error: { Type, Code: code, Message: message }, RequestId } });
}
