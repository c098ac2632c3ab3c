/** Tests that compute and nothing else: no build, no namespaces, no local cloud. They run right after `npm ci`. */
const folders = [
  'core/**/*',
  'docs/**/*',
  'infra/lint/**/*',
  'infra/aws/{member,patterns,permissions,resources}',
  'infra/bundle/prune-protos',
  '{aws,gcp}/events/*',
  'aws/client/rate-limiter',
  'aws/deliver/command-comment',
  'gcp/client/errors',
  'functions/cli/backfill/{journal,waves}',
  'functions/page/*',
  'lab/demo/{ordered-output,screen}',
];

/** @type {import('jest').Config} */
module.exports = {
  ...require('./jest.config.js'),
  testMatch: folders.map((folder) => `<rootDir>/test/${folder}.test.ts`),
};
