import { Command } from 'commander';
import packageJson from '../../package.json';
import { addBackfill } from './backfill';
import { addCompletion } from './completion';
import { addDoctor } from './doctor';
import { addExplain } from './explain';
import { addPlan } from './plan';
import { addRender } from './render';
import { addStatus } from './status';
import { addValidate } from './validate';

const exitCodeHelp = `
Exit codes: 0 fine · 1 an error · 2 plan has changes, or doctor and explain found what is broken
            3 something could not be seen · 130 interrupted
Colours end where stdout is no terminal, or NO_COLOR is set.`;

/** The `peermasq` command, whole. */
export function makeProgram(): Command {
  const program = new Command('peermasq')
    .description(`${packageJson.description}.\nThe command line: plans, explains and diagnoses.`)
    .version(packageJson.version)
    .exitOverride()
    .option('--debug', 'show every log entry, and the stack of an error')
    .showHelpAfterError('Say --help for what is accepted.')
    .addHelpText('after', exitCodeHelp);
  for (const add of [addValidate, addPlan, addBackfill, addStatus, addExplain, addDoctor, addRender])
    add(program);
  addCompletion(program);
  return program;
}
