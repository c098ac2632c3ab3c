/** A rule set without its generation. */
export interface StressRuleSet {
  readonly name: string;
  readonly text: string;
}

const sources = ['source 10.132.0.0/14', 'source fd00:132::/32'];
const exempt = ['exempt 10.132.0.0/14 pods', 'exempt fd00:132::/32 pods6'];
const repeat = (count: number, line: (index: number) => string) =>
  Array.from({ length: count }, (_, index) => line(index));

const make = (name: string, lines: readonly string[]): StressRuleSet => {
  const sorted = ['option ', 'source ', 'exempt ', 'masquerade '].flatMap((kind) =>
    lines.filter((line) => line.startsWith(kind)),
  );
  return { name, text: ['peermasq/1', ...sorted, ''].join('\n') };
};

/** Rule sets with lists and sets, and with one or both families. Every one has other rules. */
export const ruleSets: readonly StressRuleSet[] = [
  make('one range of each family', [
    ...sources,
    ...exempt,
    'masquerade 10.193.0.0/16 a',
    'masquerade fd00:193::/32 b',
  ]),
  make('other ranges and options', [
    'option random-fully',
    'option out eth0',
    ...sources,
    ...exempt,
    'exempt 10.194.7.0/24 c',
    'masquerade 10.194.0.0/16 a',
    'masquerade 10.195.0.0/16 b',
    'masquerade fd00:194::/32 d',
  ]),
  make('only IPv4', [...sources, ...exempt, 'masquerade 10.196.0.0/16 a']),
  make('only IPv6', [...sources, ...exempt, 'masquerade fd00:196::/32 a']),
  make('a set of IPv4 destinations', [
    ...sources,
    ...exempt,
    ...repeat(60, (i) => `masquerade 10.100.${i}.0/24 a${i}`),
    'masquerade fd00:197::/32 b',
  ]),
  make('sets of both kinds and families', [
    ...sources,
    ...repeat(40, (i) => `exempt 10.200.${i}.0/24 e${i}`),
    ...repeat(40, (i) => `masquerade 10.101.${i}.0/24 a${i}`),
    ...repeat(40, (i) => `masquerade fd00:${(256 + i).toString(16)}::/32 b${i}`),
  ]),
];

export const withGeneration = ({ text }: StressRuleSet, generation: number) =>
  text.replace('\n', `\ngeneration ${generation}\n`);
