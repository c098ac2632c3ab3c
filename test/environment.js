const { TestEnvironment } = require('jest-environment-node');
require('./compile-once');

/**
 * By default, if a beforeAll fails, jest fails every test in the block with the same error. With this environment,
 * only the first test fails, the others are skipped, and the error says how many tests were skipped.
 */
module.exports = class extends TestEnvironment {
  handleTestEvent(event, state) {
    if (event.name !== 'hook_failure' || event.hook.type !== 'beforeAll') return;
    const tests = testsOf(event.describeBlock);
    const [first, ...others] = tests.filter((test) => willRun(test, state));
    if (!first) return;
    for (const test of others) test.mode = 'skip';
    for (const test of tests) if (test !== first) test.errors = [];
    // The error may come from another realm, where Error is a different class.
    if (others.length > 0 && event.error?.stack) {
      const count = `${others.length} other test${others.length === 1 ? '' : 's'}`;
      event.error.stack = `beforeAll failed; ${count} skipped.\n${event.error.stack}`;
    }
  }
};

const testsOf = (block) =>
  block.children.flatMap((child) => (child.type === 'test' ? [child] : testsOf(child)));

/** Decides as jest does whether a test will run: by skip, todo and only, and by --testNamePattern. */
function willRun(test, { hasFocusedTests, testNamePattern }) {
  const isChosen = hasFocusedTests ? test.mode === 'only' : test.mode === undefined || test.mode === 'only';
  return isChosen && (!testNamePattern || testNamePattern.test(fullName(test)));
}

function fullName(test) {
  const names = [];
  // The outermost block represents the file and has no name.
  for (let item = test; item.parent; item = item.parent) names.unshift(item.name);
  return names.join(' ');
}
