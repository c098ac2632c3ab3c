const { transformSync } = require('esbuild');

/** Makes CommonJS of a TypeScript or JavaScript file, with the compiler that also makes the bundles. */
module.exports = {
  process: (source, file) =>
    transformSync(source, {
      loader: file.endsWith('.ts') ? 'ts' : 'js',
      format: 'cjs',
      target: 'node20',
      // jest cannot import() without a flag of node's.
      supported: { 'dynamic-import': false },
      sourcemap: 'inline',
      sourcefile: file,
    }),
};
