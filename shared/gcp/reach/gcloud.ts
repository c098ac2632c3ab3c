/** A command for people to run: words that a shell would read otherwise are quoted. */
export const gcloud = (...words: readonly string[]): string =>
  ['gcloud', 'compute', ...words].map(quoted).join(' ');

const quoted = (word: string): string =>
  /^[\w.:/@,=+-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
