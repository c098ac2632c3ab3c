import { Command } from 'commander';
import packageJson from '../../package.json';
import { addBackfill } from './backfill';
import { addCollect } from './collect';
import { addCompletion } from './completion';
import { addDoctor } from './doctor';
import { usageAdvice } from './exit';
import { addExplain } from './explain';
import { addPlan } from './plan';
import { addRender } from './render';
import { addStatus } from './status';
import { addValidate } from './validate';

const exitCodeHelp = `
Exit codes: 0 success · 1 error · 2 plan has changes, or doctor or explain found a problem
            3 something could not be checked · 130 interrupted
Colours are off when stdout is not a terminal or NO_COLOR is set.`;

export function makeProgram(): Command {
  const program = new Command('peermasq')
    .description(
      `${packageJson.description}.\nThis command plans and pushes rules, explains how they apply, and diagnoses connections.`,
    )
    .version(packageJson.version)
    .exitOverride()
    .option('--debug', 'print all log entries, and the stack trace of an error')
    .showHelpAfterError(usageAdvice)
    .addHelpText('after', exitCodeHelp);
  for (const add of [
    addValidate,
    addPlan,
    addBackfill,
    addStatus,
    addExplain,
    addCollect,
    addDoctor,
    addRender,
  ])
    add(program);
  addCompletion(program);
  return program;
}
