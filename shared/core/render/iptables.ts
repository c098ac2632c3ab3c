import { compareCidrs } from '../model/cidr';
import { ruleSetId, type NamedCidr, type RuleSet } from '../model/rule-set';

const byCidr = (a: NamedCidr, b: NamedCidr) => compareCidrs(a.cidr, b.cidr);

/**
 * A rule set as text for `iptables-restore --noflush` and `ip6tables-restore --noflush`: the chain and the jump that
 * the node program puts in force, a list of rules also where that would use sets.
 * @param family whose rules; undefined when the rule set has none of it
 */
export function renderIptables(ruleSet: RuleSet, family: 4 | 6): string | undefined {
  const of = <T>(all: readonly T[], familyOf: (one: T) => 4 | 6) =>
    all.filter((one) => familyOf(one) === family);
  const named = (all: readonly NamedCidr[]) => of(all, ({ cidr }) => cidr.family).toSorted(byCidr);
  const destinations = named(ruleSet.destinations);
  const sources = of(ruleSet.sources, (cidr) => cidr.family).toSorted(compareCidrs);
  // Without pods of the family a destination has no source, and gets no rule.
  if (destinations.length === 0 || (sources.length === 0 && ruleSet.sources.length > 0)) return undefined;
  const matches = sources.length === 0 ? [''] : sources.map(({ text }) => ` -s ${text}`);
  const out = ruleSet.out === undefined ? '' : ` -o ${ruleSet.out}`;
  const random = ruleSet.randomFully ? ' --random-fully' : '';
  const comment = (name: string) => `-m comment --comment "peermasq: ${name}"`;
  return lines([
    `# Rule set ${ruleSetId(ruleSet)}, for ${family === 4 ? 'iptables' : 'ip6tables'}-restore --noflush.`,
    '# A second time it adds a second jump: look first whether there is one.',
    '*nat',
    ':PEERMASQ - [0:0]',
    ...named(ruleSet.exemptions).map(
      ({ cidr, name }) => `-A PEERMASQ -d ${cidr.text} ${comment(name)} -j RETURN`,
    ),
    ...matches.flatMap((source) =>
      destinations.map(
        ({ cidr, name }) =>
          `-A PEERMASQ${source} -d ${cidr.text}${out} -m addrtype ! --dst-type LOCAL ${comment(name)} -j MASQUERADE${random}`,
      ),
    ),
    '-I POSTROUTING 1 -m comment --comment peermasq -j PEERMASQ',
    'COMMIT',
  ]);
}

const lines = (all: readonly string[]): string => all.map((line) => `${line}\n`).join('');
