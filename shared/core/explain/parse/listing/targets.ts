import { form, option, readForms, type Form } from './forms';

const flags: readonly Form[] = [form(/^(random-fully|random|persistent)(?= |$)/, ([flag]) => [`--${flag}`])];

const markForms = (name: string): Form =>
  form(new RegExp(`^${name} (set|xset|and|or|xor) (\\S+)`), ([verb, value]) =>
    option(verb === 'xset' ? '--set-xmark' : `--${verb}-mark`, value),
  );

/** The connection's mark and the packet's mark each have a mask. The `~` that iptables prints has no meaning. */
const markCopyForms: readonly Form[] = [
  form(/^CONNMARK (save|restore)(?: mask (\S+))?$/, ([verb, mask = '']) => [
    `--${verb}-mark`,
    ...(mask === '' ? [] : option('--mask', mask)),
  ]),
  form(
    /^CONNMARK (save|restore) (nf|ct)mask (\S+) (nf|ct)mask ~?(\S+)/,
    ([verb, first, mask, second, other]) => [
      `--${verb}-mark`,
      ...option(`--${first}mask`, mask),
      ...option(`--${second}mask`, other),
    ],
  ),
];

/** The options of each target, as `iptables -L` prints them at the end of a rule. */
const targetForms: Readonly<Record<string, readonly Form[]>> = {
  SNAT: [form(/^to:(\S+)/, ([to]) => option('--to-source', to), flags)],
  DNAT: [form(/^to:(\S+)/, ([to]) => option('--to-destination', to), flags)],
  MASQUERADE: [form(/^masq ports: (\S+)/, ([ports]) => option('--to-ports', ports)), ...flags],
  REDIRECT: [form(/^redir ports (\S+)/, ([ports]) => option('--to-ports', ports), flags)],
  MARK: [markForms('MARK')],
  CONNMARK: [markForms('CONNMARK'), ...markCopyForms],
  CT: [
    form(/^(?:CT notrack|NOTRACK)(?= |$)/, () => ['--notrack']),
    form(/^(?:CT )?(?:zone|helper|timeout|ctevents|expevents)\S* .*$/, () => ['--other']),
  ],
  REJECT: [form(/^reject-with \S+/, () => [])],
  NFLOG: [form(/^nflog-\S+ .*$/, () => [])],
  SET: [
    form(/^(add|del|map)-set (\S+) (\S+).*$/, ([verb, name, sides = '']) => [
      ...option(`--${verb}-set`, name),
      sides,
    ]),
  ],
};

/** Most targets print their own name before their options. */
const nameFirst = /^([A-Z][A-Z\d]*) .*$/;

interface ReadTarget {
  /** Undefined if the options were not found. */
  readonly options: readonly string[] | undefined;
  /** The text before the options. */
  readonly before: string;
}

/** Finds the options of a target at the end of a text that starts with matches that cannot be read. */
export function readTarget(target: string, text: string): ReadTarget {
  const forms = Object.hasOwn(targetForms, target) ? (targetForms[target] ?? []) : [];
  for (const start of wordStarts(text)) {
    const end = text.slice(start);
    const { tokens, rest } = readForms(forms, end);
    if (rest === '') return { options: tokens, before: text.slice(0, start).trim() };
    if (forms.length === 0 && nameFirst.exec(end)?.[1] === target)
      return { options: ['--options', end], before: text.slice(0, start).trim() };
  }
  return { options: undefined, before: text };
}

const wordStarts = (text: string): number[] => [
  0,
  ...[...text.matchAll(/ (?=\S)/g)].map(({ index }) => index + 1),
];
