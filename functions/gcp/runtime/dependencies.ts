import { PermanentError } from '../../../shared/core/model/errors';
import { makeCloud } from '../../../shared/gcp/cloud';
import type { Deadline } from '../../../shared/core/cloud';
import type { Dependencies } from '../../../shared/core/reconcile/reconcile';
import { commonDependencies } from '../../runtime/dependencies';
import { loadProgram } from '../../runtime/settings';

/** Projects whose nodes are looked at; that of the function's credentials when none is named. */
export const projects = (process.env['PEERMASQ_PROJECTS'] ?? '').split(',').filter(Boolean);

/** Made when the function starts, so that a bad config stops it there. */
const common = commonDependencies();
const program = loadProgram();
const dependenciesFor = (some: readonly string[], routesCacheMs = 0): Dependencies => ({
  ...common,
  cloud: makeCloud({ projects: some, program, routesCacheMs }),
});

/** For events of single nodes, of which many come at once. */
export const dependencies = dependenciesFor(projects, 5_000);

/** One for each project: a fault in one keeps no other from its rules. */
export const eachProject =
  projects.length > 0 ? projects.map((project) => dependenciesFor([project])) : [dependenciesFor([])];

const reserveSeconds = 5;
const invocationSeconds = readInvocationSeconds(process.env['PEERMASQ_INVOCATION_SECONDS'] ?? '60');

/** How long an invocation may run; what Terraform sets as the function's timeout, less a reserve to answer. */
export function deadline(): Deadline {
  return Date.now() + (invocationSeconds - reserveSeconds) * 1_000;
}

function readInvocationSeconds(text: string): number {
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds > reserveSeconds) return seconds;
  throw new PermanentError(
    'bad-setting',
    `PEERMASQ_INVOCATION_SECONDS is ${JSON.stringify(text)}; accepted is a number above ${reserveSeconds}`,
    "Set it to the function's timeout in seconds.",
  );
}
