/**
 * Words that names must not contain, each with the word to use instead. They apply to file names, identifiers and
 * names in strings.
 */
export const wrongWords = new Map(
  Object.entries({
    admission: 'eligibility',
    admit: 'checkEligibility',
    again: 'retry, force',
    anew: 'again',
    around: 'networkContext',
    bury: 'sendToDeadLetterQueue',
    buried: 'deadLettered',
    cargo: 'batch',
    conceal: 'unreadable',
    crowd: 'burst',
    cure: 'fix',
    doors: 'firewalls',
    examine: 'gather',
    farewell: 'shutdown',
    fate: 'disposition',
    fault: 'error',
    glance: 'poll, check',
    handed: 'assigned',
    harmful: 'unsafe',
    heal: 'fix, recover',
    heed: 'follow, apply',
    helpful: 'advised',
    judge: 'evaluate',
    judgement: 'evaluation',
    leg: 'candidateRoute',
    letter: 'event, message',
    meant: 'expected',
    mend: 'fix',
    mirror: 'record',
    mirrored: 'recorded',
    news: 'hasChanged',
    nobody: 'none',
    obedient: 'local',
    onward: 'nextHop',
    onwards: 'nextHop',
    overdrawn: 'exceeded',
    pace: 'rateLimiter',
    patience: 'timeout',
    permit: 'match',
    postpone: 'delayRetries',
    remember: 'recordOutcomes',
    ripe: 'due',
    ruling: 'match',
    scene: 'pathContext',
    settle: 'outcomeOf',
    sight: 'reader',
    somebody: 'user',
    standpoint: 'pathContext',
    surroundings: 'networkContext',
    survey: 'dryRun',
    tainted: 'unreadable',
    tell: 'report, print',
    telling: 'reporting',
    told: 'announced, reported',
    unburied: 'notDeadLettered',
    unmirrored: 'unrecorded',
    unrecorded: 'recordFailure',
    unseen: 'accessDenied',
    vain: 'tried',
    walked: 'trace',
    whoever: 'caller',
    whois: 'subjectOf',
    wish: 'request',
    young: 'new',
    youth: 'gracePeriod',
  }),
);

/**
 * Words that must not be the whole name of a type, because the type with that name was renamed. They are allowed inside
 * longer names.
 */
export const wrongTypes = new Map(
  Object.entries({
    Across: 'NextHop',
    Again: 'Retry',
    Answer: 'Ternary',
    Ended: 'FinishedCommand',
    End: 'PushRecord',
    Far: 'Remote…',
    Finding: 'CheckResult',
    Hop: 'MatchedRoute',
    Link: 'Check',
    Look: 'Snapshot, Poll',
    Near: 'Local…',
    NotYet: 'NotReady',
    Order: 'PushRequest',
    Pass: 'ReconcileResult',
    Place: 'AccountRegion, NetworkLocation, SocketAddress',
    Push: 'PushResult',
    Returned: 'PushResponse',
    Seen: 'SweepSummary',
    Span: 'Range',
    Turn: 'HookStep',
    Turns: 'RateLimiter',
    View: 'NetworkReader, MatchContext',
    Way: 'Connection',
  }),
);

/**
 * Complete names that are rejected although each of their words is allowed. They also apply to names in strings, such
 * as codes and events.
 */
export const wrongNames = new Map(
  Object.entries({
    acceptsLoss: 'allowRouteLoss',
    'accept-loss': 'allow-route-loss',
    failing: 'failedMatches',
    ifAllowed: 'undefinedIfDenied',
    inAnyOrder: 'inEveryOrder',
    inWords: 'formatError',
    lastEnd: 'lastPush',
    lookAt: 'poll, snapshot',
    missed: 'nearMisses',
    nextLookSeconds: 'retryDelaySeconds',
    notYet: 'notReady',
    passEach: 'reconcileEach',
    'route-back': 'return-route',
    'route-there': 'forward-route',
    serveBatch: 'handleBatch',
    untilEnded: 'untilFinished',
    visible: 'escapeControls',
    whatIs: 'describeInput',
    whoIs: 'subjectOf',
  }),
);

/** Standard terms that contain a word from the list above. */
const standardTerms = [/dead[-_ ]?letters?/giu, /\$fault\b/gu, /fault[-_ ]?injection/giu, /senderFault/giu];

/** Returns the words of a name in camelCase, PascalCase, snake_case or kebab-case, in lower case. */
export const splitWords = (name: string): string[] =>
  (name.match(/[A-Z]?[a-z]+|[A-Z]+(?![a-z])/gu) ?? []).map((word) => word.toLowerCase());

/** Returns the first rejected word in a name, and the word to use instead. */
export function findWrongWord(name: string): { word: string; use: string } | undefined {
  const whole = wrongNames.get(name);
  if (whole !== undefined) return { word: name, use: whole };
  const rest = standardTerms.reduce((text, term) => text.replaceAll(term, ''), name);
  for (const word of splitWords(rest)) {
    const use = stemsOf(word)
      .map((stem) => wrongWords.get(stem))
      .find((found) => found !== undefined);
    if (use !== undefined) return { word, use };
  }
  return undefined;
}

/** Returns a word and the words of which it may be a form: settles, settled and settling are forms of settle. */
function stemsOf(word: string): string[] {
  const endings: readonly (readonly [RegExp, string])[] = [
    [/ies$/u, 'y'],
    [/s$/u, ''],
    [/es$/u, ''],
    [/d$/u, ''],
    [/ed$/u, ''],
    [/(.)\1ed$/u, '$1'],
    [/ing$/u, ''],
    [/ing$/u, 'e'],
    [/(.)\1ing$/u, '$1'],
  ];
  return [word, ...endings.map(([ending, stem]) => word.replace(ending, stem))];
}
