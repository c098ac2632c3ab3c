import { makeGcpCloud } from '../../shared/gcp/cloud';
import type { Deadline } from '../../shared/core/ports';
import { dependenciesFor } from '../dependencies';
import { loadProgram } from '../settings';

/** Projects whose nodes a backfill looks at; the function's own when none is named. */
const projects = (process.env['PEERMASQ_PROJECTS'] ?? process.env['GOOGLE_CLOUD_PROJECT'] ?? '')
  .split(',')
  .filter(Boolean);

/** Made when the function starts, so that a bad config stops it there. */
export const dependencies = dependenciesFor(makeGcpCloud({ projects, program: loadProgram() }));

/** How long an invocation may run; what Terraform sets as the function's timeout, less a reserve to answer. */
const invocationMs = Number(process.env['PEERMASQ_INVOCATION_SECONDS'] ?? 60) * 1_000;
const reserveMs = 5_000;

export function deadline(): Deadline {
  return Date.now() + invocationMs - reserveMs;
}
