/**
 * Calls `read` once for each key and keeps what it returned.
 * A promise that is rejected is forgotten, so that the next caller tries again.
 */
export function memoize<Key, T>(read: (key: Key) => T): (key: Key) => T {
  const results = new Map<Key, T>();
  return (key) => {
    if (results.has(key)) return results.get(key) as T;
    const result = read(key);
    results.set(key, result);
    if (result instanceof Promise) result.catch(() => results.delete(key));
    return result;
  };
}

/** As `memoize`, for what has no key. */
export function lazy<T>(make: () => T): () => T {
  const get = memoize<undefined, T>(make);
  return () => get(undefined);
}
