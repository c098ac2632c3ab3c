/**
 * Calls `read` once for each key and keeps what it returned.
 * A promise that is rejected is forgotten, so that the next caller tries again.
 * @param idOf identifies a key that is an object
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

/** As `memoize`, for what has no key. */
export function lazy<T>(make: () => T): () => T {
  const get = memoize<undefined, T>(make);
  return () => get(undefined);
}

/**
 * What `parse` returns, or undefined where it throws.
 * @param isExpected errors that mean "not parseable"; others are thrown on. Without it every error means that.
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
