const vm = require('node:vm');

/**
 * jest compiles every module again for each test file, the SDKs' megabytes included. The compiled script of a module
 * runs in any context, so here a worker compiles it once.
 */
const { compileFunction } = vm;
const scripts = new Map();

vm.compileFunction = function compileOnce(code, parameters, options) {
  if (!options?.parsingContext || !options.filename) return compileFunction(code, parameters, options);
  const { filename, parsingContext } = options;
  const opening = `(function (${parameters.join(', ')}) {`;
  const source = `${opening}${code}\n})`;
  let script = scripts.get(filename);
  if (script?.source !== source) {
    // Lines and columns stay those of the module. It cannot import(), but nor can any module in jest without a flag.
    script = { source, compiled: new vm.Script(source, { filename, columnOffset: -opening.length }) };
    scripts.set(filename, script);
  }
  return script.compiled.runInContext(parsingContext);
};
