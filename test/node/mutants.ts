import { environments } from './environments';
import type { Environment } from './environments/environment';
import { expectedOutcome, type Outcome } from './environments/outcome';

/** How a mutant of the node program shows in an environment. */
export type Symptom =
  | 'proven when it is not'
  | 'not proven when it is'
  | 'a connection that has to work is dropped'
  | 'the report rests on something else';

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
    mistake: 'paths are looked up for the packets of the node',
    text: 'from $pod iif $device mark $mark',
    replacement: 'mark $mark',
    environment: unsteered,
    symptom: 'proven when it is not',
    inShortRun: true,
  },
  {
    mistake: 'paths are looked up as if the packets came from no interface',
    text: 'from $pod iif $device mark $mark',
    replacement: 'from $pod mark $mark',
    environment: steered,
    symptom: 'not proven when it is',
  },
  {
    mistake: 'packets are taken to carry no mark',
    text: 'known+=("$value")',
    replacement: ':',
    environment: 'policy routing into a tunnel, by a mark that a table of nft sets',
    symptom: 'proven when it is not',
    inShortRun: true,
  },
  {
    mistake: 'ip rules that look at ports are not detected',
    text: '(not|ipproto|sport|dport|',
    replacement: '(not|',
    environment: 'policy routing of a part of the traffic into a tunnel',
    symptom: 'proven when it is not',
  },
  {
    mistake: 'a pod address counts as one that peers can answer',
    text: '[[ $1 == "$2" ]] && return 0\n  for ((i = 0; i < ${#ADDRESSES[@]}; i++)); do',
    replacement: 'return 0\n  for ((i = 0; i < ${#ADDRESSES[@]}; i++)); do',
    environment: unsteered,
    symptom: 'proven when it is not',
  },
  {
    mistake: 'an error of the kernel counts as a path',
    text: 'explain_error "$device" "$destination" "${ANSWER_ERRORS[$2]}" "$subject"\n    return 1',
    replacement: 'return 0',
    environment: 'a node that does not forward',
    symptom: 'proven when it is not',
  },
  {
    mistake: 'the probe is sent from the node where there are pods',
    text: 'send=probe_from_pods; fi',
    replacement: ':; fi',
    environment: 'a network policy that lets no pod connect to the peer',
    symptom: 'proven when it is not',
    inShortRun: true,
  },
  {
    mistake: 'a connection counts without an entry in conntrack',
    text: 'if [[ -z $line && -n $connected ]]; then',
    replacement: 'if [[ -n $connected ]]; then\n    REPLY="reached $4 $expected"\n  elif false; then',
    environment: 'sidecars that accept every connection, and a peer without a route to the node',
    symptom: 'proven when it is not',
  },
  {
    mistake: 'a probe without an answer counts',
    text: '[[ -n $connected && -n $answered ]]',
    replacement: '[[ -n $line ]]',
    environment: 'hub and spoke, where the network behind the hub has a route to the hub only',
    symptom: 'proven when it is not',
  },
  {
    mistake: 'a probe that no pod can send is left out',
    text: 'not_proven no-namespace',
    replacement: ': no-namespace',
    environment: 'a node without nsenter',
    symptom: 'proven when it is not',
  },
  {
    mistake: 'BPF programs on devices are not detected',
    text: '  find_ebpf\n',
    replacement: '',
    environment: 'a BPF program that sends packets of pods past iptables',
    symptom: 'proven when it is not',
  },
  {
    mistake: 'the ip rule for steered packets is missing',
    text: 'run ip "-$1" rule "$verb" $steer_rule',
    replacement: ':',
    environment: steered,
    symptom: 'not proven when it is',
  },
  {
    mistake: "the VPC CNI's own mark is not set",
    text: 'if sees_vpc_cni "$1"; then iptables_primary_interface; fi',
    replacement: '',
    environment:
      'EKS with custom networking and the peer in AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS, where nft marks, on a node without the command nft',
    symptom: 'a connection that has to work is dropped',
  },
  {
    mistake: 'the mark is set in table mangle although the node has nft',
    text: 'steers_with_nft() { list_nft_tables; }',
    replacement: 'steers_with_nft() { false; }',
    environment: 'EKS with custom networking, external SNAT and the policies of Calico',
    symptom: 'a connection that has to work is dropped',
  },
  {
    mistake: 'replies of pods are steered',
    text: 'ct direction original ct state new jump steer',
    replacement: 'jump steer',
    environment: 'EKS with external SNAT, pods in the subnet of the node',
    symptom: 'a connection that has to work is dropped',
  },
  {
    mistake: 'replies of pods are steered on a node without the command nft',
    text: '-A PREROUTING -m conntrack --ctstate NEW,SNAT --ctdir ORIGINAL -m comment',
    replacement: '-A PREROUTING -m comment',
    environment: 'EKS with external SNAT, pods in the subnet of the node, on a node without the command nft',
    symptom: 'a connection that has to work is dropped',
  },
  {
    mistake: 'packets that leave by branch interfaces are masqueraded',
    text: 'SPARED[$1]=vlan+',
    replacement: 'SPARED[$1]=""',
    environment: 'EKS with security groups for pods, strict mode',
    symptom: 'a connection that has to work is dropped',
  },
  {
    mistake: 'exempt packets are masqueraded',
    text: '      each_exemption iptables_exemption "$1"\n      each_masquerade_rule iptables_masquerade "$1"',
    replacement: '      text+="-A PEERMASQ -j MASQUERADE"$\'\\n\'',
    environment: 'GKE, VPC-native, towards a peer that the rule set leaves alone',
    symptom: 'a connection that has to work is dropped',
  },
  {
    mistake: 'what the VPC CNI masquerades is masqueraded before it',
    text: 'LEFT[$1]=$address',
    replacement: ':',
    environment: 'EKS with its default settings',
    symptom: 'the report rests on something else',
  },
];

/** Fails if the program no longer has the text, because the mutant would be the program itself. */
export function mutate(program: string, { mistake, text, replacement }: Mutant): string {
  if (!program.includes(text)) throw new Error(`the program has no such text for "${mistake}": ${text}`);
  return program.replaceAll(text, () => replacement);
}

export function environmentOf({ environment, mistake }: Mutant): Environment {
  const found = environments.find(({ name }) => name === environment);
  if (!found) throw new Error(`there is no environment for "${mistake}": ${environment}`);
  if (found.pending) throw new Error(`the program itself is not right in "${environment}"`);
  return found;
}

/** What is wrong in an environment. A program that fails to apply the rule set has none of these symptoms. */
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
    'proven when it is not': proven === false && apply.proven,
    'not proven when it is': proven === true && !apply.proven,
    'a connection that has to work is dropped': isOtherThan('after') || isOtherThan('restarted'),
    'the report rests on something else': basis.some((each) => !apply.basis?.includes(each)),
  };
  return (Object.keys(found) as Symptom[]).filter((symptom) => found[symptom]);
}
