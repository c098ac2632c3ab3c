import type { BuildOptions } from 'esbuild';
import { computeMethods, computeMethodsOfCli } from './compute-methods';
import { computeProtos } from './compute-protos';
import { excludeModules } from './excluded-modules';
import { schemaKeys } from './schema-keys';

const common = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  legalComments: 'none',
  // Node reads all of it before it runs any of it. Names stay, and lines stay short, for the sake of stack traces.
  minifyWhitespace: true,
  minifySyntax: true,
  lineLimit: 120,
} as const satisfies BuildOptions;

/** The functions as esbuild makes them; the plugins alone are what makes them small. */
export const awsBundle = {
  ...common,
  entryPoints: ['node-joined', 'peering-changed', 'command-finished', 'backfill'].map((name) => ({
    in: `functions/aws/${name}.ts`,
    out: name,
  })),
  outdir: 'dist/aws',
  // The SDK's modules load in half the time of its CommonJS build, and unused ones fall away.
  mainFields: ['module', 'main'],
  plugins: [schemaKeys],
} satisfies BuildOptions;

export const gcpBundle = {
  ...common,
  entryPoints: { index: 'functions/gcp/index.ts' },
  outdir: 'dist/gcp',
  // Google's builder starts its own copy, in which the functions must be registered.
  external: ['@google-cloud/functions-framework'],
  plugins: [computeProtos(computeMethods), excludeModules],
} satisfies BuildOptions;

export const cliBundle = {
  ...common,
  entryPoints: { peermasq: 'functions/cli/main.ts' },
  outdir: 'dist/cli',
  // In parts: a start reads no client of a cloud that is not asked. They are modules, for which CommonJS that
  // is bundled needs two names.
  format: 'esm',
  splitting: true,
  outExtension: { '.js': '.mjs' },
  banner: {
    js: `#!/usr/bin/env node
import { createRequire as requireFrom } from 'node:module';
const require = requireFrom(import.meta.url), __dirname = import.meta.dirname;`,
  },
  mainFields: ['module', 'main'],
  plugins: [schemaKeys, computeProtos(computeMethodsOfCli), excludeModules],
} satisfies BuildOptions;
