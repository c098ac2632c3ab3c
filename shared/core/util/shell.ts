/** As a shell takes it for one word: names from a cloud stand in commands that people paste. */
export const shellQuote = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${escapeControls(text).replaceAll("'", String.raw`'\''`)}'`;

/** Text from elsewhere, on one line, and with nothing in it that steers a terminal. */
export const escapeControls = (text: string): string =>
  text.replaceAll(/\s+/g, ' ').replaceAll(/\p{Cc}|\p{Cf}/gu, '\ufffd');
