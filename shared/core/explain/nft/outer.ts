import type { Hook, Match, Rule, Test } from '../model';
import { unknownMatch } from './match';

/** Where chains of devices and bridges act, seen from the hooks of IP. */
export interface Outer {
  readonly hook: Hook;
  /** To be added to the chain's own. */
  readonly priority: number;
  /** Whether the packet comes there at all: no dump tells what devices it passes beneath those that routes name. */
  readonly doubt: Match;
}

/** Of chains that only other chains call. */
export const anywhere = unknownMatch('devices', 'whether it passes there is not known');

/** Own priorities have 32 bits. */
const stage = 2 ** 33;
const bridge: Readonly<Record<string, readonly [Hook, number]>> = {
  prerouting: ['prerouting', -2 * stage],
  // What is only bridged passes `forward`, and no routed packet does.
  input: ['prerouting', -stage],
  output: ['postrouting', stage],
  postrouting: ['postrouting', 2 * stage],
};
const device: Readonly<Record<string, readonly [Hook, number]>> = {
  ingress: ['prerouting', -3 * stage],
  egress: ['postrouting', 3 * stage],
};

/** @returns undefined for a hook of IP itself, and for those that no routed packet comes to */
export function outerOf(family: string, hook: string, devices: readonly string[]): Outer | undefined {
  const known = family === 'bridge' ? bridge : device;
  const [at, priority] = (Object.hasOwn(known, hook) ? known[hook] : undefined) ?? [];
  if (at === undefined || priority === undefined) return undefined;
  const where = family === 'bridge' ? `bridge ${hook}` : [hook, 'device', ...devices].join(' ');
  const doubt = unknownMatch(where, 'whether it passes there is not known');
  return { hook: at, priority, doubt };
}

/** The rule as one that is perhaps not come to. Its interfaces are ports of bridges too, which no route names. */
export function doubted(rule: Rule, doubt: Match): Rule {
  const matches = rule.matches.map((match) =>
    asksInterface(match) ? unknownMatch(match.text, 'it may be a port of a bridge') : match,
  );
  return { ...rule, matches: [doubt, ...matches] };
}

const asksInterface = (test: Test): boolean =>
  test.kind === 'interface' || (test.kind === 'any' && test.alternatives.flat().some(asksInterface));
