/**
 * Calls `read` once per key and caches the result. A rejected promise is not cached, so that the next call retries.
 * @param idOf maps a key that is an object to a comparable value
 */
export function memoize<Key, T>(
  read: (key: Key) => T,
  idOf: (key: Key) => unknown = (key) => key,
): (key: Key) => T {
  const results = new Map<unknown, T>();
  return (key) => {
    const id = idOf(key);
    if (results.has(id)) return results.get(id) as T;
    const result = read(key);
    results.set(id, result);
    if (result instanceof Promise) result.catch(() => results.delete(id));
    return result;
  };
}

/** Like `memoize`, but keeps a result only as long as its key is in use. */
export function memoizeByObject<Key extends object, T>(read: (key: Key) => T): (key: Key) => T {
  const results = new WeakMap<Key, { readonly value: T }>();
  return (key) => {
    const result = results.get(key) ?? { value: read(key) };
    results.set(key, result);
    return result.value;
  };
}

/** Like `memoize`, but without a key. */
export function lazy<T>(make: () => T): () => T {
  const get = memoize<undefined, T>(make);
  return () => get(undefined);
}

/**
 * Returns the result of `parse`, or undefined if it throws.
 * @param isExpected whether an error means invalid input; other errors are rethrown. By default, every error means
 * invalid input
 */
export function tryParse<T>(
  parse: () => T,
  isExpected: (error: unknown) => boolean = () => true,
): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (!isExpected(error)) throw error;
    return undefined;
  }
}
