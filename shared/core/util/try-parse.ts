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
