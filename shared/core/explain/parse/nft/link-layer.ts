import type { Hook, RuleMatch, Rule, Condition } from '../../model';
import { unknownMatch } from './match';

/** Where chains of devices and bridges act, seen from the hooks of IP. */
export interface LinkLayerHook {
  readonly hook: Hook;
  /** To be added to the chain's own. */
  readonly priority: number;
  /** Whether the packet comes there at all: no dump tells what devices it passes beneath those that routes name. */
  readonly guard: RuleMatch;
}

/** Of chains that only other chains call. */
export const unknownDevice = unknownMatch('devices', 'whether it passes there is not known');

/** Own priorities have 32 bits. */
const priorityOffset = 2 ** 33;
const bridge: Readonly<Record<string, readonly [Hook, number]>> = {
  prerouting: ['prerouting', -2 * priorityOffset],
  // What is only bridged passes `forward`, and no routed packet does.
  input: ['prerouting', -priorityOffset],
  output: ['postrouting', priorityOffset],
  postrouting: ['postrouting', 2 * priorityOffset],
};
const device: Readonly<Record<string, readonly [Hook, number]>> = {
  ingress: ['prerouting', -3 * priorityOffset],
  egress: ['postrouting', 3 * priorityOffset],
};

/** @returns undefined for a hook of IP itself, and for those that no routed packet comes to */
export function linkLayerHookOf(
  family: string,
  hook: string,
  devices: readonly string[],
): LinkLayerHook | undefined {
  const known = family === 'bridge' ? bridge : device;
  const [at, priority] = (Object.hasOwn(known, hook) ? known[hook] : undefined) ?? [];
  if (at === undefined || priority === undefined) return undefined;
  const where = family === 'bridge' ? `bridge ${hook}` : [hook, 'device', ...devices].join(' ');
  const guard = unknownMatch(where, 'whether it passes there is not known');
  return { hook: at, priority, guard };
}

/** The rule as one that is perhaps not come to. Its interfaces are ports of bridges too, which no route names. */
export function guardRule(rule: Rule, guard: RuleMatch): Rule {
  const matches = rule.matches.map((match) =>
    testsInterface(match) ? unknownMatch(match.text, 'it may be a port of a bridge') : match,
  );
  return { ...rule, matches: [guard, ...matches] };
}

const testsInterface = (test: Condition): boolean =>
  test.kind === 'interface' || (test.kind === 'any' && test.alternatives.flat().some(testsInterface));
