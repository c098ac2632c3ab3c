import { shellWord } from '../../core/shell';

/** A command for people to run: words that a shell would read otherwise are quoted. */
export const gcloud = (...words: readonly string[]): string =>
  ['gcloud', 'compute', ...words].map(shellWord).join(' ');
