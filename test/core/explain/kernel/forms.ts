import type { RuleSetKind, RuleSetText } from './generate';
import type { ExplainLab } from './lab';

/** A way in which people show a node's rules: the commands that they run, with their output. */
export interface PrintedForm {
  readonly name: string;
  /** Returns the commands that print the rules, or an empty list if this form cannot show rules of this kind. */
  readonly commands: (kind: RuleSetKind, iptables: string) => readonly string[];
  readonly sets: 'ipset save' | 'ipset list';
}

const tables = ['raw', 'mangle', 'nat', 'filter'] as const;

/** Prints each table of both backends with the same options. */
const perTable =
  (options: string): PrintedForm['commands'] =>
  (kind, iptables) =>
    kind === 'nft'
      ? []
      : [
          ...['legacy', 'nft'].flatMap((backend) =>
            tables.map((table) => `${iptables}-${backend} -t ${table} ${options}`),
          ),
          ...(kind === 'nft and iptables' ? ['nft -j list ruleset'] : []),
        ];

/** Prints the tables of nft, and with them those of iptables-nft. */
const nftText =
  (command: string): PrintedForm['commands'] =>
  (kind, iptables) => [...(kind === 'nft' ? [] : [`${iptables}-legacy-save`]), command];

const form = (
  name: string,
  commands: PrintedForm['commands'],
  sets: PrintedForm['sets'] = 'ipset save',
): PrintedForm => ({ name, commands, sets });

export const printedForms: readonly PrintedForm[] = [
  form('iptables-save -c', (kind, iptables) =>
    kind === 'nft'
      ? []
      : [
          `${iptables}-legacy-save -c`,
          `${iptables}-nft-save -c`,
          ...(kind === 'nft and iptables' ? ['nft -j list ruleset'] : []),
        ],
  ),
  form('iptables -S', perTable('-S')),
  form('iptables -L', perTable('-L')),
  form('iptables -L -n', perTable('-L -n'), 'ipset list'),
  form('iptables -L -v', perTable('-L -v')),
  form('iptables -L -n -v --line-numbers', perTable('-L -n -v --line-numbers'), 'ipset list'),
  form('nft list ruleset', nftText('nft list ruleset')),
  form('nft -a list ruleset', nftText('nft -a list ruleset')),
  form('nft -n -s list ruleset', nftText('nft -n -s list ruleset')),
];

/** Looks up names in files only: the rules might drop what a name server is asked. */
const withoutDns = `
echo 'hosts: files' > nsswitch.conf
mount --bind nsswitch.conf /etc/nsswitch.conf`;

/** Prints a node's rules, sets, addresses and routes as a terminal shows them. Empty if the form cannot show them. */
export async function printForm(
  lab: ExplainLab,
  { kind, family }: Pick<RuleSetText, 'kind' | 'family'>,
  { commands, sets }: PrintedForm,
): Promise<string> {
  const rules = commands(kind, family === 4 ? 'iptables' : 'ip6tables');
  if (rules.length === 0) return '';
  const all = [...rules, sets, 'ip -o addr', `ip -${family} route show table all`, `ip -${family} rule`];
  const script = all.map((command) => `echo 'root@node:~# ${command}'\n${command} 2>/dev/null`).join('\n');
  const [output = ''] = await lab.onNode([
    { argv: ['unshare', '-m', 'sh', '-ec', `cd "$(mktemp -d)"${withoutDns}\n${script}`] },
  ]);
  return output;
}
