export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = Readonly<Record<string, Json>>;

/** What a dump has is taken for nothing before it was looked at: a missing or foreign value reads as an empty one. */
export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
export const objectOf = (value: Json | undefined): JsonObject => (isObject(value) ? value : {});
export const listOf = (value: Json | undefined): readonly Json[] =>
  Array.isArray(value) ? (value as readonly Json[]) : [];
export const wordOf = (value: Json | undefined): string =>
  typeof value === 'string' ? value : JSON.stringify(value ?? null);
export const textOf = (value: Json | undefined): string => (typeof value === 'string' ? value : '');

/** An element of a set, without what it carries beside its value. */
export const unwrapped = (value: Json): Json => objectOf(objectOf(value)['elem'])['val'] ?? value;

/** An expression for people, cut after 200 characters. */
export const short = (value: Json): string => {
  const { prefix, range, set } = objectOf(value);
  if (prefix) return `${textOf(objectOf(prefix)['addr'])}/${wordOf(objectOf(prefix)['len'])}`;
  const { concat } = objectOf(value);
  if (concat) return listOf(concat).map(wordOf).join(' . ');
  if (Array.isArray(value)) return listOf(value).map(wordOf).join(' | ');
  if (range) return listOf(range).map(wordOf).join('-');
  const text = set
    ? `{ ${listOf(set)
        .slice(0, 8)
        .map((one) => (isObject(one) ? short(one) : wordOf(one)))
        .join(', ')} }`
    : typeof value === 'object'
      ? JSON.stringify(value)
      : String(value);
  return text.length > 200 ? `${text.slice(0, 197)}...` : text;
};
