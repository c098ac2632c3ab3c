import { noBooleanParam } from './rules/no-boolean-param';
import { noConditionalSpread } from './rules/no-conditional-spread';
import { noLiteralSpread } from './rules/no-literal-spread';
import { noLyingCast } from './rules/no-lying-cast';
import { noTupleAssignment } from './rules/no-tuple-assignment';
import { noWrongWord } from './rules/no-wrong-word';

/** The rules that only this repository has, for eslint.config.mjs. */
export const plugin = {
  meta: { name: 'peermasq' },
  rules: {
    'no-boolean-param': noBooleanParam,
    'no-conditional-spread': noConditionalSpread,
    'no-literal-spread': noLiteralSpread,
    'no-lying-cast': noLyingCast,
    'no-tuple-assignment': noTupleAssignment,
    'no-wrong-word': noWrongWord,
  },
};
