import type { MetadataItem } from './state';

/** An error in the format of the API's errors. */
export class GcpApiError extends Error {
  constructor(
    readonly status: number,
    readonly reason: string,
    message: string,
    readonly domain = 'global',
  ) {
    super(message);
  }

  toJSON() {
    const { status: code, message, domain, reason } = this;
    return { error: { code, message, errors: [{ message, domain, reason }] } };
  }
}

export const notFound = (path: string) =>
  new GcpApiError(404, 'notFound', `The resource '${path}' was not found`);
export const invalid = (message: string) => new GcpApiError(400, 'invalid', message);

/** The patterns for parameters, from the API's discovery document. */
const patterns: Readonly<Record<string, RegExp>> = {
  project:
    /^(?:(?:[-a-z0-9]{1,63}\.)*(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?):)?(?:[0-9]{1,19}|[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)$/,
  zone: /^[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?$/,
  instance: /^(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?|[1-9][0-9]{0,19})$/,
  network: /^(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?|[1-9][0-9]{0,19})$/,
  region: /^[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?$/,
  router: /^(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?|[1-9][0-9]{0,19})$/,
  operation: /^[a-z0-9-]{1,80}$/,
};

const systemQuery = ['alt', '$alt', '$.xgafv', 'prettyPrint', 'key', 'fields'];

/** The patterns for labels (Compute Engine, "Labeling resources"). The lab allows only ASCII letters. */
const labelPatterns = { key: /^[a-z][a-z0-9_-]{0,62}$/, value: /^[a-z0-9_-]{0,63}$/ };
const maxLabels = 64;

const metadataLimits = { value: 256 * 1024, all: 512 * 1024 };

export function checkParams(params: Readonly<Record<string, string>>): void {
  for (const [key, value] of Object.entries(params)) {
    if (patterns[key]?.test(value)) continue;
    throw invalid(
      `Invalid value for field '${key}': '${value}'. Must be a match of regex '${patterns[key]?.source}'`,
    );
  }
}

export function checkQuery(query: URLSearchParams, known: readonly string[]): void {
  const unknown = [...query.keys()].find((key) => !known.includes(key) && !systemQuery.includes(key));
  if (unknown === undefined) return;
  throw new GcpApiError(
    400,
    'badRequest',
    `Invalid JSON payload received. Unknown name "${unknown}": Cannot bind query parameter.`,
  );
}

export function checkRequestId(id: string | null): void {
  if (id === null || /^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id))
    return;
  throw invalid(`Invalid value for field 'requestId': '${id}'. Must be a UUID.`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function checkFields(value: unknown, known: readonly string[]): Record<string, unknown> {
  if (!isRecord(value)) throw invalid('Invalid JSON payload received. An object was expected.');
  const unknown = Object.keys(value).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    throw new GcpApiError(
      400,
      'badRequest',
      `Invalid JSON payload received. Unknown name "${unknown}": Cannot find field.`,
    );
  }
  return value;
}

export function readMetadata(body: unknown): { items: MetadataItem[]; fingerprint: unknown } {
  const { items = [], fingerprint } = checkFields(body, ['kind', 'fingerprint', 'items']);
  if (!Array.isArray(items)) throw invalid("Invalid value for field 'metadata.items'.");
  const read = items.map((item: unknown): MetadataItem => {
    const { key, value } = checkFields(item, ['key', 'value']);
    if (typeof key !== 'string' || !/^[a-zA-Z0-9-_]{1,128}$/.test(key)) {
      throw invalid(`Invalid value for field 'metadata.items.key': '${String(key)}'.`);
    }
    if (typeof value !== 'string' || Buffer.byteLength(value) > metadataLimits.value) {
      throw invalid(`Invalid value for field 'metadata.items.value'. ${key} must be at most 262144 bytes.`);
    }
    return { key, value };
  });
  if (new Set(read.map(({ key }) => key)).size < read.length) {
    throw invalid("Invalid value for field 'metadata.items'. Metadata has duplicate keys.");
  }
  const all = read.reduce((sum, { key, value }) => sum + key.length + Buffer.byteLength(value), 0);
  if (all > metadataLimits.all) {
    throw new GcpApiError(
      413,
      'uploadTooLarge',
      'Request Entity Too Large: total metadata size is limited to 524288 bytes.',
    );
  }
  return { items: read, fingerprint };
}

export function readLabels(body: unknown): { labels: Record<string, string>; fingerprint: unknown } {
  const { labels, labelFingerprint } = checkFields(body, ['labels', 'labelFingerprint']);
  if (!isRecord(labels)) throw invalid("Invalid value for field 'labels'.");
  const entries = Object.entries(labels).map(([key, value]): [string, string] => {
    if (!labelPatterns.key.test(key))
      throw invalid(`Invalid value for field 'labels': '${key}' is not a valid key.`);
    if (typeof value !== 'string' || !labelPatterns.value.test(value))
      throw invalid(`Invalid value for field 'labels': the value of ${key} is invalid.`);
    return [key, value];
  });
  if (entries.length > maxLabels) throw invalid("Invalid value for field 'labels': more than 64 labels.");
  return { labels: Object.fromEntries(entries), fingerprint: labelFingerprint };
}

/** Checks that a request has no body. The JSON text `""`, which the official client sends, counts as no body. */
export function checkNoBody(body: unknown): void {
  if (body !== undefined && body !== '') checkFields(body, []);
}
