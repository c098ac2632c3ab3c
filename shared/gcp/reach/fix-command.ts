import { shellQuote } from '../../core/util/shell';

/** A command for people to run: words that a shell would read otherwise are quoted. */
export const gcloud = (...args: readonly string[]): string =>
  ['gcloud', 'compute', ...args].map(shellQuote).join(' ');
