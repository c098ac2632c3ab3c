import { describe, expect, test } from '@jest/globals';
import { readSettings } from '../../../../functions/gcp/runtime/settings';

describe('the settings of a function', () => {
  test('have defaults', () => {
    expect(readSettings({})).toEqual({ projects: [], invocationMs: 55_000 });
  });

  test('contain the projects and the time limit of an invocation', () => {
    const env = { PEERMASQ_PROJECTS: 'one, two,', PEERMASQ_INVOCATION_SECONDS: '540' };
    expect(readSettings(env)).toEqual({ projects: ['one', 'two'], invocationMs: 535_000 });
  });

  test.each(['', 'soon', '-1', '5', 'Infinity'])('cannot have a time limit of %j seconds', (seconds) => {
    expect(() => readSettings({ PEERMASQ_INVOCATION_SECONDS: seconds })).toThrow(
      `invalid value ${JSON.stringify(seconds)}: expected a number above 5`,
    );
  });
});
