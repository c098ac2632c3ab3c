import { tryParse } from '../../util/functional';
import type { Line } from './input';

/**
 * Removes what tickets, mails, chats, logs and editors put around each line, so that the lines are as the programs
 * printed them. A line that has nothing else is left out.
 */
export function removeDecoration(lines: readonly Line[]): Line[] {
  const unquoted = lines.map(({ text, number }) => ({ text: text.replace(quote, ''), number }));
  const unnumbered = isNumbered(unquoted) ? unquoted.map(removeNumber) : unquoted;
  return unnumbered.flatMap(({ text, number }) => {
    if (!mayBeDecorated.test(text)) return [{ text, number }];
    const plain = plainText(text);
    return plain.trim() === '' || banner.test(plain) ? [] : [{ text: plain, number }];
  });
}

/** Mail programs put `>` before quoted lines. */
const quote = /^\s*(?:>\s?)+/;

const lineNumber = /^\s*(\d+)(?:\t|:(?! )|[.)|│]\s?| {1,2})/u;

/** Whether every line starts with its number, as `cat -n`, `grep -n ''` and editors print it. */
function isNumbered(lines: readonly Line[]): boolean {
  const filled = lines.filter(({ text }) => text.trim() !== '');
  const numbers = filled.map(({ text }) => Number(lineNumber.exec(`${text}\t`)?.[1]));
  return (
    filled.length > 1 &&
    numbers.every((number, index) => index === 0 || number === (numbers[index - 1] ?? 0) + 1)
  );
}

const removeNumber = ({ text, number }: Line): Line => ({
  text: `${text}\t`.replace(lineNumber, '').trimEnd(),
  number,
});

/** Most lines of long input are rules that need no further look. */
const mayBeDecorated = /^(?![:*]\S|-A \S)|[<&`–—]/u;

const ruleStart = String.raw`(?:\[\d+:\d+\] *)?-[APN] [\w-]|[:*][A-Za-z]`;
const linePrefixes: readonly RegExp[] = [
  /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\d.,]*(?:Z|[+-]\d\d:?\d\d)?\s/,
  /^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ [\w.-]+(?:\[\d+\])?: /,
  // `grep -n` and `grep` in several files.
  new RegExp(String.raw`^(?:[\w./~-]+[:-])?(?:\d+[:-])?(?=${ruleStart})`),
  new RegExp(String.raw`^\s*(?:[-*•|]|\d+[.)]?)\s+(?=${ruleStart})`, 'u'),
];

const tag = String.raw`<\/?(?:pre|code|details|summary|p|div|span|br)\b[^>]*>|\{(?:code|noformat)[^}]*\}|\[\/?code\]`;
const fence = /^\s*(?:```|~~~).*$/;
const tags = new RegExp(`^\\s*(?:${tag})+|(?:${tag})+$`, 'gi');

function plainText(text: string): string {
  let plain = text.replace(fence, '').replaceAll(tags, '');
  for (const prefix of linePrefixes) plain = plain.replace(prefix, '');
  return replaceTypography(decodeEntities(unwrapString(plain)));
}

/** Ansible prints output as a list of JSON strings; chats put single lines between back quotes. */
function unwrapString(text: string): string {
  const [, json] = /^\s*("(?:[-*:#[]|COMMIT|[^"]* ).*"),?$/.exec(text) ?? [];
  const parsed = json === undefined ? undefined : tryParse(() => JSON.parse(json) as unknown);
  if (typeof parsed === 'string') return parsed;
  return text.replace(/^\s*`([^`]+)`\s*$/, '$1');
}

const entities: Readonly<Record<string, string>> = {
  '&lt;': '<',
  '&gt;': '>',
  '&amp;': '&',
  '&quot;': '"',
  '&#34;': '"',
  '&#39;': "'",
  '&nbsp;': ' ',
};

const decodeEntities = (text: string): string =>
  text.replaceAll(/&(?:lt|gt|amp|quot|nbsp|#3[49]);/g, (entity) => entities[entity] ?? entity);

/** Word processors make one dash of the two before an option. */
const replaceTypography = (text: string): string =>
  text.replaceAll(/(^|\s)[–—]-?(?=[a-z])/gu, '$1--').replaceAll(/(^|\s)[–—](?=[A-Z] )/gu, '$1-');

/** What kubectl, ssh, sudo and SSM print around the output of a command. */
const banner = new RegExp(
  [
    String.raw`^(?:Defaulted container "|Defaulting (?:debug )?container name|If you don't see a command prompt`,
    String.raw`|Creating debugging pod |Starting session with SessionId|Exiting session with sessionId`,
    String.raw`|Connection to \S+ closed|Shared connection to |Warning: Permanently added |Last login: `,
    String.raw`|sudo: unable to resolve host |\[sudo\] password for |--More--|Unable to use a TTY`,
    String.raw`|logout$|exit$|command terminated with exit code )`,
  ].join(''),
);
