const { transformSync } = require('esbuild');

/** Turns a TypeScript or JavaScript file into CommonJS, with the compiler that also makes the bundles. */
module.exports = {
  process: (source, file) =>
    transformSync(source, {
      loader: file.endsWith('.ts') ? 'ts' : 'js',
      format: 'cjs',
      target: 'node20',
      // jest supports import() only with a flag of Node.js.
      supported: { 'dynamic-import': false },
      sourcemap: 'inline',
      sourcefile: file,
    }),
};
