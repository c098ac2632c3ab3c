import type { Want } from '../../shared/core/explain/explanation';

/** What the user has entered. All fields are text, as typed. */
export interface Form {
  /** The pasted output of the node's programs. */
  readonly rules: string;
  /** The address of the pod. */
  readonly from: string;
  /** `ADDRESS:PORT`, or `ADDRESS`; empty for the overview. */
  readonly to: string;
  readonly protocol: 'tcp' | 'udp';
  /** What the packet should leave with: the node's address, or its own. */
  readonly want: Want;
  /** Whether the pasted rules are all rules of the node. */
  readonly assumeComplete: boolean;
}

export const emptyForm: Form = {
  rules: '',
  from: '',
  to: '',
  protocol: 'tcp',
  want: 'masqueraded',
  assumeComplete: false,
};
