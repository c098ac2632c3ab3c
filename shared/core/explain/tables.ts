import type { BaseChain, Hook } from './model';

/** The hooks of the tables of iptables, as far as they are on a packet's way through the node. */
export const tableHooks: Readonly<Record<string, readonly Hook[]>> = {
  raw: ['prerouting', 'output'],
  mangle: ['prerouting', 'forward', 'output', 'postrouting'],
  nat: ['prerouting', 'output', 'postrouting'],
  filter: ['forward', 'output'],
  security: ['forward', 'output'],
};

/** The tables of iptables. */
export const iptablesTables: readonly string[] = Object.keys(tableHooks);

/** The kernel's enum nf_ip_hook_priorities, without nat. */
const priorities: Readonly<Record<string, number>> = { raw: -300, mangle: -150, filter: 0, security: 50 };

/** Returns the priority at which iptables registers the chains of a table. */
export function priorityOf(table: string, hook: Hook): number {
  if (table === 'nat') return hook === 'postrouting' ? 100 : -100;
  return priorities[table] ?? 0;
}

/** The kernel's NF_IP_PRI_CONNTRACK is -200. */
export const runsBeforeConntrack = ({ hook, priority }: Pick<BaseChain, 'hook' | 'priority'>): boolean =>
  (hook === 'prerouting' || hook === 'output') && priority < -200;
