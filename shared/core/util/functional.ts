/**
 * Calls `read` once per key and keeps its result. A rejected promise is not kept, so that the next call retries.
 * @param idOf maps a key that is an object to something comparable
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

/** As `memoize`, without a key. */
export function lazy<T>(make: () => T): () => T {
  const get = memoize<undefined, T>(make);
  return () => get(undefined);
}

/**
 * The result of `parse`, or undefined if it throws.
 * @param isExpected the errors that mean invalid input, by default all; others are rethrown
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
