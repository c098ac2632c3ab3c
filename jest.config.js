/** Google's client imports these while it runs; jest can do that only when they are CommonJS. */
const transformed = ['gaxios', 'node-fetch', 'fetch-blob', 'formdata-polyfill', 'data-uri-to-buffer'];

/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: '<rootDir>/test/environment.js',
  testSequencer: '<rootDir>/test/sequencer.js',
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  // These need Chromium, and have a command of their own: npm run test:browser.
  testPathIgnorePatterns: ['/node_modules/', '<rootDir>/test/browser/'],
  transform: { '\\.[jt]s$': '<rootDir>/test/transform.js' },
  transformIgnorePatterns: [`/node_modules/(?!(${transformed.join('|')})/)`],
  // The descriptor of the whole Compute API takes seconds to load; the bundles have no more of it either.
  moduleNameMapper: { '^\\.\\./\\.\\./protos/protos\\.json$': '<rootDir>/test/lab/gcp/protos.ts' },
  cacheDirectory: '<rootDir>/node_modules/.cache/jest',
  // For two cores: a good part of the tests waits for what clouds and nodes take their time for.
  maxWorkers: 4,
  // Of tests in one file that say so; they wait, too.
  maxConcurrency: 8,
  testTimeout: 20_000,
};
