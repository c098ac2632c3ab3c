import { shellcheckNodeProgram } from './lint/shellcheck';

/** For `npm run lint`: fails if shellcheck finds something in the node program. */
const found = shellcheckNodeProgram() ?? 'shellcheck is not installed\n';
if (found !== '') {
  process.stderr.write(found);
  process.exitCode = 1;
}
