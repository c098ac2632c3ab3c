export type JsonValue =
  null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };
export type JsonObject = Readonly<Record<string, JsonValue>>;

/** What a dump has is taken for nothing before it was looked at: a missing or foreign value reads as an empty one. */
export const isJsonObject = (value: JsonValue | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
export const objectOf = (value: JsonValue | undefined): JsonObject => (isJsonObject(value) ? value : {});
export const listOf = (value: JsonValue | undefined): readonly JsonValue[] =>
  Array.isArray(value) ? (value as readonly JsonValue[]) : [];
export const scalarText = (value: JsonValue | undefined): string =>
  typeof value === 'string' ? value : JSON.stringify(value ?? null);
export const textOf = (value: JsonValue | undefined): string => (typeof value === 'string' ? value : '');

/** An element of a set, without what it carries beside its value. */
export const unwrapElement = (value: JsonValue): JsonValue =>
  objectOf(objectOf(value)['elem'])['val'] ?? value;

/** An expression for people, cut after 200 characters. */
export const abbreviate = (value: JsonValue): string => {
  const { prefix, range, set } = objectOf(value);
  if (prefix) return `${textOf(objectOf(prefix)['addr'])}/${scalarText(objectOf(prefix)['len'])}`;
  const { concat } = objectOf(value);
  if (concat) return listOf(concat).map(scalarText).join(' . ');
  if (Array.isArray(value)) return listOf(value).map(scalarText).join(' | ');
  if (range) return listOf(range).map(scalarText).join('-');
  const text = set
    ? `{ ${listOf(set)
        .slice(0, 8)
        .map((one) => (isJsonObject(one) ? abbreviate(one) : scalarText(one)))
        .join(', ')} }`
    : typeof value === 'object'
      ? JSON.stringify(value)
      : String(value);
  return text.length > 200 ? `${text.slice(0, 197)}...` : text;
};
