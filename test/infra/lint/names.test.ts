import { expect, test } from '@jest/globals';
import { findInBash, findInPaths } from '../../../infra/lint/names';
import { splitWords } from '../../../infra/lint/words';

test('splits names into words', () => {
  expect(splitWords('sendToDLQAfter2Tries')).toEqual(['send', 'to', 'dlq', 'after', 'tries']);
  expect(splitWords('PEERMASQ_DIR')).toEqual(['peermasq', 'dir']);
  expect(splitWords('rule-set.test.ts')).toEqual(['rule', 'set', 'test', 'ts']);
});

test('the linter reports each file name and folder name only once', () => {
  const findings = findInPaths(['shared/letters/a.ts', 'shared/letters/mend.ts', 'shared/secure.ts']);
  expect(findings.map(({ file }) => file)).toEqual(['shared/letters', 'shared/letters/mend.ts']);
});

test('the linter checks names of functions and variables in bash, but not commands, comments or strings', () => {
  const source = [
    'mend_rules() {',
    '  local one told=1 # the letter',
    '  fate="cure=1"',
    '  for letter in a b; do told=2; done',
    '  read -r -a judged',
    '  other --cure=1 heal',
    '}',
  ].join('\n');
  expect(findInBash('a.sh', source).map(({ line, message }) => [line, message.split(':')[0]])).toEqual([
    [1, '"mend" in the name mend_rules'],
    [2, '"told" in the name told'],
    [3, '"fate" in the name fate'],
    [4, '"letter" in the name letter'],
    [5, '"judged" in the name judged'],
  ]);
});
