/** As a shell takes it for one word: names from a cloud stand in commands that people paste. */
export const shellWord = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${visible(text).replaceAll("'", String.raw`'\''`)}'`;

/** Text from elsewhere, on one line, and with nothing in it that steers a terminal. */
export const visible = (text: string): string =>
  // eslint-disable-next-line no-control-regex
  text.replaceAll(/\s+/g, ' ').replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '\ufffd');
