import { compareCidrs } from '../model/cidr';
import { ruleSetId, type NamedCidr, type RuleSet } from '../model/rule-set';

const byCidr = (a: NamedCidr, b: NamedCidr) => compareCidrs(a.cidr, b.cidr);

/**
 * Renders a rule set as text for `iptables-restore --noflush` or `ip6tables-restore --noflush`. The chain and the jump
 * are the same as in the node program, but the text contains neither sets for long lists nor steering.
 * @returns undefined if the rule set has no rules of this address family
 */
export function renderIptables(ruleSet: RuleSet, family: 4 | 6): string | undefined {
  const of = <T>(all: readonly T[], familyOf: (one: T) => 4 | 6) =>
    all.filter((one) => familyOf(one) === family);
  const named = (all: readonly NamedCidr[]) => of(all, ({ cidr }) => cidr.family).toSorted(byCidr);
  const destinations = named(ruleSet.destinations);
  const sources = of(ruleSet.sources, (cidr) => cidr.family).toSorted(compareCidrs);
  // If all sources belong to the other address family, no rule can match.
  if (destinations.length === 0 || (sources.length === 0 && ruleSet.sources.length > 0)) return undefined;
  const matches = sources.length === 0 ? [''] : sources.map(({ text }) => ` -s ${text}`);
  const out = ruleSet.out === undefined ? '' : ` -o ${ruleSet.out}`;
  const random = ruleSet.randomFully ? ' --random-fully' : '';
  const comment = (name: string) => `-m comment --comment "peermasq: ${name}"`;
  return lines([
    `# Rule set ${ruleSetId(ruleSet)}, for ${family === 4 ? 'iptables' : 'ip6tables'}-restore --noflush.`,
    '# Applying this file again adds a second jump. Check for an existing jump first.',
    ...(ruleSet.isSteered
      ? [
          "# option steer is not included: only the node program steers pods' packets to the primary interface.",
        ]
      : []),
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
