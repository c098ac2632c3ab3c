/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  transform: { '\\.ts$': ['@swc/jest', { jsc: { target: 'es2023', parser: { syntax: 'typescript' } } }] },
  cacheDirectory: '<rootDir>/node_modules/.cache/jest',
  // Two cores; a kernel test also runs the programs it starts.
  maxWorkers: 2,
  testTimeout: 20_000,
};
