import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { noBooleanParam } from './rules/no-boolean-param';
import { noConditionalSpread } from './rules/no-conditional-spread';
import { noLiteralSpread } from './rules/no-literal-spread';
import { noLyingCast } from './rules/no-lying-cast';
import { noTupleAssignment } from './rules/no-tuple-assignment';
import { noWrongWord } from './rules/no-wrong-word';

const folder = 'infra/lint';

/**
 * ESLint's cache is valid for one version of a plugin, so the version has to change when the rules or their words
 * change.
 */
function versionOfRules(): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).toSorted()) {
    if (name.endsWith('.ts')) hash.update(readFileSync(join(folder, name)));
  }
  return hash.digest('hex');
}

/** The ESLint rules that are specific to this repository, for eslint.config.mjs. */
export const plugin = {
  meta: { name: 'peermasq', version: versionOfRules() },
  rules: {
    'no-boolean-param': noBooleanParam,
    'no-conditional-spread': noConditionalSpread,
    'no-literal-spread': noLiteralSpread,
    'no-lying-cast': noLyingCast,
    'no-tuple-assignment': noTupleAssignment,
    'no-wrong-word': noWrongWord,
  },
};
