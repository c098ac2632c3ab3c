import type { BuildOptions } from 'esbuild';
import { computeMethods, computeMethodsOfCli } from './compute-methods';
import { computeProtos } from './compute-protos';
import { excludeAwsModules, excludeGoogleModules } from './excluded-modules';
import { schemaKeys } from './schema-keys';

const common = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  legalComments: 'none',
  // Node.js parses the whole file before running it, so white space is removed. Names are kept and lines are short,
  // so that stack traces stay readable.
  minifyWhitespace: true,
  minifySyntax: true,
  lineLimit: 120,
} as const satisfies BuildOptions;

/** The bundles of the functions. The plugins make the bundles small. */
export const awsBundle = {
  ...common,
  entryPoints: ['node-joined', 'peering-changed', 'command-finished', 'backfill'].map((name) => ({
    in: `functions/aws/${name}.ts`,
    out: name,
  })),
  outdir: 'dist/aws',
  // The SDK's ES modules load in half the time of its CommonJS build, and the bundler can drop unused modules.
  mainFields: ['module', 'main'],
  plugins: [schemaKeys, excludeAwsModules],
} satisfies BuildOptions;

export const gcpBundle = {
  ...common,
  entryPoints: { index: 'functions/gcp/index.ts' },
  outdir: 'dist/gcp',
  // Google's builder runs its own copy of this package, and the functions must be registered with that copy.
  external: ['@google-cloud/functions-framework'],
  plugins: [computeProtos(computeMethods), excludeGoogleModules],
} satisfies BuildOptions;

export const cliBundle = {
  ...common,
  entryPoints: { peermasq: 'functions/cli/main.ts' },
  outdir: 'dist/cli',
  // The bundle is split, so that only the client of the selected cloud is loaded. Splitting requires ES modules, and
  // CommonJS modules in an ES bundle need two additional names.
  format: 'esm',
  splitting: true,
  outExtension: { '.js': '.mjs' },
  banner: {
    js: `#!/usr/bin/env node
import { createRequire as requireFrom } from 'node:module';
const require = requireFrom(import.meta.url), __dirname = import.meta.dirname;`,
  },
  mainFields: ['module', 'main'],
  plugins: [schemaKeys, computeProtos(computeMethodsOfCli), excludeGoogleModules],
} satisfies BuildOptions;

/** The page is for browsers, and small, because people may send it to each other. */
export const pageBundle = {
  bundle: true,
  platform: 'browser',
  target: 'es2022',
  format: 'iife',
  minify: true,
  legalComments: 'none',
  write: false,
  entryPoints: ['functions/page/main.tsx'],
  tsconfig: 'functions/page/tsconfig.json',
  mainFields: ['module', 'main'],
} satisfies BuildOptions;
