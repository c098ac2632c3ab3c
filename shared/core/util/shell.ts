/** Quotes `text` as one shell word. Commands that users paste may contain names from a cloud. */
export const shellQuote = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${escapeControls(text).replaceAll("'", String.raw`'\''`)}'`;

/** Formats untrusted text on one line, with terminal control characters escaped. */
export const escapeControls = (text: string): string =>
  text.replaceAll(/\s+/g, ' ').replaceAll(/\p{Cc}|\p{Cf}/gu, '\ufffd');

// eslint-disable-next-line no-control-regex
const controlCharacters = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]|\p{Cf}/gu;

/** Replaces every character that can control a terminal, except line breaks. */
export const stripControls = (text: string): string => text.replaceAll(controlCharacters, '\ufffd');

/** Like `stripControls`, but keeps the escape sequences for colours. */
export const stripControlsKeepColours = (text: string): string =>
  text
    // eslint-disable-next-line no-control-regex
    .split(/(\u001b\[\d{1,2}m)/)
    .map((part, index) => (index % 2 === 1 ? part : stripControls(part)))
    .join('');

/** Escapes the control characters that `JSON.stringify` does not escape: those from U+007F on. */
export const escapeJsonControls = (json: string): string =>
  json.replaceAll(/[\u007f-\u009f]|\p{Cf}/gu, (text) =>
    Array.from({ length: text.length }, (_, at) => unicodeEscape(text.charCodeAt(at))).join(''),
  );

const unicodeEscape = (codeUnit: number): string => `\\u${codeUnit.toString(16).padStart(4, '0')}`;
