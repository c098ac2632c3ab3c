import type { Rule } from '../model';
import type { Evaluation, Trace } from '../simulate/trace';
import { egressOf, walk } from '../simulate/walk';
import { replaceRules } from '../simulate/what-if';
import { describeUndecidedMatch } from './describe-match';
import type { TracedPacket } from './root-cause';
import { formatRuleName, undecidedMatches } from './trace';

/** The maximum number of rules that are tested. Each costs two walks. */
const maxTested = 24;

/** Returns the undecided rules on which it depends whether the packet is masqueraded. */
export function findDecidingRules(traced: TracedPacket): Evaluation[] {
  const { evaluations } = traced.trace;
  return evaluations
    .filter((evaluation) => isUndecided(evaluation) && canDecide(evaluation.rule))
    .slice(0, maxTested)
    .filter((evaluation) => decides(evaluation, traced));
}

/** Whether the dump does not show if the rule matches, or what it does. Rules that only inherit a doubt are left out. */
function isUndecided(evaluation: Evaluation): boolean {
  const { rule, matched } = evaluation;
  if (matched === false) return false;
  return undecidedMatches(evaluation).length > 0 || rule.targets.some(({ kind }) => kind === 'unknown');
}

/** A rule without targets, such as LOG, changes nothing. */
const canDecide = ({ targets }: Rule) => targets.length > 0;

/** Whether the possible results change if the rule is known to match, or known not to match. */
function decides({ chain, rule }: Evaluation, { snapshot, packet, trace }: TracedPacket): boolean {
  const resultsWith = (replacement: readonly Rule[]) => {
    const rules = chain.rules.flatMap((each) => (each === rule ? replacement : [each]));
    return resultsOf(walk(replaceRules(snapshot, new Map([[chain, rules]])), packet));
  };
  const results = resultsOf(trace);
  const isUnknownTarget = rule.targets.some(({ kind }) => kind === 'unknown');
  if (resultsWith([]) !== results) return true;
  return !isUnknownTarget && resultsWith([{ ...rule, matches: [] }]) !== results;
}

const resultsOf = (trace: Trace): string =>
  [...new Set(egressOf(trace).map(({ translation }) => (translation ? 'masqueraded' : 'direct')))]
    .sort()
    .join();

/** @param deciding the rules that decide whether the packet is masqueraded */
export function describeUndecided([first, ...others]: readonly Evaluation[]): string {
  if (!first) return 'Depends on the order of chains with the same priority, which a dump does not show.';
  const more = others.length > 0 ? ` It also depends on ${listNames(others)}.` : '';
  const matches = undecidedMatches(first);
  const why =
    matches.length === 0
      ? `what ${first.rule.text} does is not known`
      : matches.map((match) => describeUndecidedMatch(match, first)).join('; ');
  return `Depends on ${formatRuleName(first)}: ${why}.${more}`;
}

const listNames = (evaluations: readonly Evaluation[]) => evaluations.map(formatRuleName).join(' and ');
