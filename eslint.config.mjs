import eslint from '@eslint/js';
import { tsImport } from 'tsx/esm/api';
import tseslint from 'typescript-eslint';

const { plugin: peermasq } = await tsImport('./infra/lint/plugin.ts', import.meta.url);

/**
 * Returns a rule that enforces the direction of imports: functions → shared/{aws,gcp} → shared/core.
 * @param {string[]} files
 * @param {{ group: string[], message: string }[]} patterns
 */
const mayNotImport = (files, patterns) => ({
  files,
  rules: { 'no-restricted-imports': ['error', { patterns }] },
});

const outerLayers = {
  group: ['**/functions/**', '**/infra/**', '**/test/**'],
  message: 'shared/ must not import its callers.',
};

const coreLayer = [
  outerLayers,
  { group: ['**/aws/**', '**/gcp/**'], message: 'shared/core must not depend on a cloud.' },
  { group: ['@aws-sdk/*', '@google-cloud/*', 'pino'], message: 'shared/core does no I/O.' },
];

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', '.cache/', '.serverless/', 'coverage/'] },
  eslint.configs.recommended,
  {
    // docs/style.md gives the reasons for these rules. eslint-suppressions.json counts the remaining violations.
    plugins: { peermasq, '@typescript-eslint': tseslint.plugin },
    rules: {
      '@typescript-eslint/max-params': ['error', { max: 3 }],
      'no-nested-ternary': 'error',
      'peermasq/no-boolean-param': 'error',
      'peermasq/no-conditional-spread': 'error',
      'peermasq/no-literal-spread': 'error',
      'peermasq/no-lying-cast': 'error',
      'peermasq/no-tuple-assignment': 'error',
      'peermasq/no-wrong-word': 'error',
    },
  },
  { files: ['infra/lint/words.ts', 'test/infra/lint/**'], rules: { 'peermasq/no-wrong-word': 'off' } },
  {
    files: ['**/*.{ts,tsx}'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/consistent-type-definitions': 'off',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      'no-restricted-syntax': [
        'error',
        {
          selector: "ImportDeclaration[source.value='zod'] > ImportSpecifier",
          message:
            "Write import * as z. A named import adds zod's messages in every language to the bundles.",
        },
      ],
      // The compiler requires brackets for index signatures, such as those of process.env and events.
      '@typescript-eslint/dot-notation': 'off',
    },
  },
  mayNotImport(
    ['shared/core/**/*.ts'],
    [
      ...coreLayer,
      {
        group: ['node:*', '!node:crypto', '!node:zlib', '**/util/poll'],
        message: 'shared/core is pure: no file, process, clock or network.',
      },
    ],
  ),
  // Both clouds use poll.ts to wait. No other file in shared/core may import it.
  mayNotImport(['shared/core/util/poll.ts'], coreLayer),
  mayNotImport(
    ['shared/aws/**/*.ts'],
    [
      outerLayers,
      {
        group: ['**/gcp/**', '@google-cloud/*'],
        message: 'Code for one cloud must not import code for the other cloud.',
      },
    ],
  ),
  mayNotImport(
    ['shared/gcp/**/*.ts'],
    [
      outerLayers,
      {
        group: ['**/aws/**', '@aws-sdk/*'],
        message: 'Code for one cloud must not import code for the other cloud.',
      },
    ],
  ),
  mayNotImport(
    ['functions/aws/**/*.ts'],
    [
      {
        group: ['**/gcp/**', '@google-cloud/*', '**/test/**'],
        message: 'Code for one cloud must not import code for the other cloud.',
      },
    ],
  ),
  mayNotImport(
    ['functions/gcp/**/*.ts'],
    [
      {
        group: ['**/aws/**', '@aws-sdk/*', '**/test/**'],
        message: 'Code for one cloud must not import code for the other cloud.',
      },
    ],
  ),
  {
    files: ['**/*.mjs', '**/*.js'],
    languageOptions: {
      globals: { process: 'readonly', console: 'readonly', module: 'writable', require: 'readonly' },
    },
  },
);
