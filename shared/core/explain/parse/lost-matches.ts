import { unknownMatch, type Chain, type Rule, type RuleTarget, type Table } from '../model';

/** Chains that a program writes, in which no rule is ever followed by rules that it makes unreachable. */
const managedChain = /^(?:KUBE-|FLANNEL-|cali-|CILIUM_|AWS-|IP-MASQ|CNI-|WEAVE)/;

/** Rules of Kubernetes that always have a certain match. */
const signatures: readonly { readonly chain: RegExp; readonly rule: RegExp; readonly required: RegExp }[] = [
  { chain: /^KUBE-POSTROUTING$/, rule: / -j RETURN$/, required: / --mark / },
  { chain: /^KUBE-FIREWALL$/, rule: / -j DROP$/, required: / --mark | --ctstate / },
  { chain: /^KUBE-FORWARD$/, rule: / -j (?:ACCEPT|DROP)$/, required: / --mark | --ctstate / },
  {
    chain: /^KUBE-MARK-(?:MASQ|DROP)$/,
    rule: / -j MARK /,
    required: /(?:0x[1-9a-f][\da-f]*|--or-mark \S+)$/i,
  },
  { chain: /^KUBE-SERVICES$/, rule: / cluster IP"? .*-j KUBE-(?:SVC|MARK)-/, required: / --dports? / },
];

const terminalTargets: ReadonlySet<RuleTarget['kind']> = new Set([
  'accept',
  'drop',
  'return',
  'goto',
  'masquerade',
  'snat',
]);

/**
 * Finds rules that an older iptables has printed without some of their matches, because it does not know how the newer
 * iptables stored them (kubernetes/kubernetes#112477). These rules get a match that is undecided.
 * @returns the rules
 */
export function findLostMatches({ chains }: Table): Rule[] {
  return [...chains.values()].flatMap((chain) =>
    chain.rules.flatMap((rule, index) => {
      if (!hasLostMatch(chain, rule)) return [];
      const incomplete = { ...rule, matches: [...rule.matches, lostMatch] };
      chain.rules[index] = incomplete;
      return [incomplete];
    }),
  );
}

const lostMatch = unknownMatch(
  'a match that is not printed',
  'an older iptables printed this rule without it',
);

function hasLostMatch({ name, rules }: Chain, rule: Rule): boolean {
  const signature = signatures.find((one) => one.chain.test(name) && one.rule.test(rule.text));
  if (signature) return !signature.required.test(rule.text);
  const isUnconditional =
    rule.matches.length === 0 && rule.targets.some(({ kind }) => terminalTargets.has(kind));
  return isUnconditional && managedChain.test(name) && rule !== rules.at(-1);
}
