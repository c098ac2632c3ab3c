import { environments } from './environments';
import type { Environment } from './environments/environment';
import { expectedOutcome, type Outcome } from './environments/outcome';

/** How the mistake of a mutant shows in an environment. */
export type Symptom =
  | 'proven, but should not be'
  | 'not proven, but should be'
  | 'a required connection is dropped'
  | 'the report has a different basis';

/** A mutant: the node program with one mistake, and an environment in which the mistake matters. */
export interface Mutant {
  readonly mistake: string;
  /** The text that is replaced wherever it occurs, and its replacement. */
  readonly text: string;
  readonly replacement: string;
  readonly environment: string;
  readonly symptom: Symptom;
  /** Whether the mutant is tested in every run. All others are tested only in the long run. */
  readonly inShortRun?: true;
}

const unsteered = 'EKS with custom networking and external SNAT, and a rule set that does not steer';
const steered = 'EKS with custom networking and external SNAT';

export const mutants: readonly Mutant[] = [
  {
    mistake: "paths are looked up for the node's own packets instead of pods' packets",
    text: 'from $pod iif $device mark $mark',
    replacement: 'mark $mark',
    environment: unsteered,
    symptom: 'proven, but should not be',
    inShortRun: true,
  },
  {
    mistake: 'paths are looked up as if the packets came from no interface',
    text: 'from $pod iif $device mark $mark',
    replacement: 'from $pod mark $mark',
    environment: steered,
    symptom: 'not proven, but should be',
  },
  {
    mistake: 'packets are assumed to carry no mark',
    text: 'known+=("$value")',
    replacement: ':',
    environment: 'policy routing into a tunnel, by a mark that a table of nft sets',
    symptom: 'proven, but should not be',
    inShortRun: true,
  },
  {
    mistake: 'ip rules that match ports are not detected',
    text: '(not|ipproto|sport|dport|',
    replacement: '(not|',
    environment: 'policy routing of a part of the traffic into a tunnel',
    symptom: 'proven, but should not be',
  },
  {
    mistake: 'a pod address is accepted as an address to which peers can reply',
    text: '[[ $1 == "$2" ]] && return 0\n  for ((i = 0; i < ${#ADDRESSES[@]}; i++)); do',
    replacement: 'return 0\n  for ((i = 0; i < ${#ADDRESSES[@]}; i++)); do',
    environment: unsteered,
    symptom: 'proven, but should not be',
  },
  {
    mistake: 'an error from the kernel is accepted as a path',
    text: 'explain_error "$device" "$destination" "${ANSWER_ERRORS[$2]}" "$subject"\n    return 1',
    replacement: 'return 0',
    environment: 'a node that does not forward',
    symptom: 'proven, but should not be',
  },
  {
    mistake: 'the probe is sent from the node even if there are pods',
    text: 'send=probe_from_pods; fi',
    replacement: ':; fi',
    environment: 'a network policy that lets no pod connect to the peer',
    symptom: 'proven, but should not be',
    inShortRun: true,
  },
  {
    mistake: 'a probe succeeds although its connection has no conntrack entry',
    text: 'if [[ -z $line && -n $connected ]]; then',
    replacement: 'if [[ -n $connected ]]; then\n    REPLY="reached $4 $expected"\n  elif false; then',
    environment: 'sidecars that accept every connection, and a peer without a route to the node',
    symptom: 'proven, but should not be',
  },
  {
    mistake: 'a probe succeeds without a reply',
    text: '[[ -n $connected && -n $answered ]]',
    replacement: '[[ -n $line ]]',
    environment: 'hub and spoke, where the network behind the hub has a route to the hub only',
    symptom: 'proven, but should not be',
  },
  {
    mistake: 'a probe that no pod can send is skipped without an error',
    text: 'not_proven no-namespace',
    replacement: ': no-namespace',
    environment: 'a node without nsenter',
    symptom: 'proven, but should not be',
  },
  {
    mistake: 'BPF programs on devices are not detected',
    text: '  find_ebpf\n',
    replacement: '',
    environment: 'a BPF program that sends packets of pods past iptables',
    symptom: 'proven, but should not be',
  },
  {
    mistake: 'the ip rule for steered packets is not added',
    text: 'run ip "-$1" rule "$verb" $steer_rule',
    replacement: ':',
    environment: steered,
    symptom: 'not proven, but should be',
  },
  {
    mistake: "the VPC CNI's mark is not set",
    text: 'if sees_vpc_cni "$1"; then iptables_primary_interface; fi',
    replacement: '',
    environment:
      'EKS with custom networking and the peer in AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS, where nft marks, on a node without the command nft',
    symptom: 'a required connection is dropped',
  },
  {
    mistake: 'the mark is set in table mangle although the node has nft',
    text: 'steers_with_nft() { list_nft_tables; }',
    replacement: 'steers_with_nft() { false; }',
    environment: 'EKS with custom networking, external SNAT and the policies of Calico',
    symptom: 'a required connection is dropped',
  },
  {
    mistake: 'a rule of another program that ends table mangle is not detected',
    text: 'if may_bypass_steering "$1"; then',
    replacement: 'if false; then',
    environment:
      'EKS with custom networking, external SNAT and the policies of Calico, on a node without the command nft',
    symptom: 'proven, but should not be',
  },
  {
    mistake: 'a chain that returns packets is taken for one that ends table mangle',
    text: 'j:RETURN) [[ $4 == "-A $HOOK "* ]] ;;',
    replacement: 'j:RETURN) return 0 ;;',
    environment:
      'EKS with custom networking, external SNAT and the policies of Calico with iptablesMangleAllowAction=Return, on a node without the command nft',
    symptom: 'not proven, but should be',
  },
  {
    mistake: "pods' replies are steered",
    text: 'ct direction original ct state new jump steer',
    replacement: 'jump steer',
    environment: 'EKS with external SNAT, pods in the subnet of the node',
    symptom: 'a required connection is dropped',
  },
  {
    mistake: "pods' replies are steered on a node without the command nft",
    text: '-A PREROUTING -m conntrack --ctstate NEW,SNAT --ctdir ORIGINAL -m comment',
    replacement: '-A PREROUTING -m comment',
    environment: 'EKS with external SNAT, pods in the subnet of the node, on a node without the command nft',
    symptom: 'a required connection is dropped',
  },
  {
    mistake: 'packets that leave through branch interfaces are masqueraded',
    text: 'SPARED[$1]=vlan+',
    replacement: 'SPARED[$1]=""',
    environment: 'EKS with security groups for pods, strict mode',
    symptom: 'a required connection is dropped',
  },
  {
    mistake: 'exempt packets are masqueraded',
    text: '      each_exemption iptables_exemption "$1"\n      each_masquerade_rule iptables_masquerade "$1"',
    replacement: '      text+="-A PEERMASQ -j MASQUERADE"$\'\\n\'',
    environment: 'GKE, VPC-native, towards a peer that the rule set leaves alone',
    symptom: 'a required connection is dropped',
  },
  {
    mistake: 'our rules masquerade packets that the VPC CNI would masquerade',
    text: 'LEFT[$1]=$address',
    replacement: ':',
    environment: 'EKS with its default settings',
    symptom: 'the report has a different basis',
  },
];

/** Fails if the program no longer has the text, because the mutant would be the program itself. */
export function mutate(program: string, { mistake, text, replacement }: Mutant): string {
  if (!program.includes(text))
    throw new Error(
      `the node program does not contain the text that the mutant "${mistake}" replaces: ${text}`,
    );
  return program.replaceAll(text, () => replacement);
}

export function environmentOf({ environment, mistake }: Mutant): Environment {
  const found = environments.find(({ name }) => name === environment);
  if (!found)
    throw new Error(`the mutant "${mistake}" needs an environment that does not exist: ${environment}`);
  return found;
}

/** Returns what went wrong in an environment. A program that fails to apply the rule set has none of these symptoms. */
export function symptomsOf(environment: Environment, outcome: Outcome): Symptom[] {
  const { apply } = outcome;
  if (apply.result !== 'applied') return [];
  const expected = expectedOutcome(environment, { backend: 'iptables-nft', length: 'short' });
  const isOtherThan = (phase: 'after' | 'restarted') =>
    Object.entries(expected[phase]).some(
      ([connection, seen]) => seen !== 'dropped' && outcome[phase][connection] !== seen,
    );
  const { proven, basis = [] } = environment.expected;
  const found: Record<Symptom, boolean> = {
    'proven, but should not be': proven === false && apply.proven,
    'not proven, but should be': proven === true && !apply.proven,
    'a required connection is dropped': isOtherThan('after') || isOtherThan('restarted'),
    'the report has a different basis': basis.some((each) => !apply.basis?.includes(each)),
  };
  return (Object.keys(found) as Symptom[]).filter((symptom) => found[symptom]);
}
