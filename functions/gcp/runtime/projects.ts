import { makeCloud } from '../../../shared/gcp/cloud';
import type { Dependencies } from '../../../shared/core/reconcile/reconcile';
import type { NonEmpty } from '../../../shared/core/util/collections';
import { commonDependencies } from '../../runtime/dependencies';
import { loadProgram } from '../../runtime/settings';
import { readSettings } from './settings';

/**
 * Settings are read when the function starts. An invalid setting or config therefore fails before any event is
 * received.
 */
export const settings = readSettings(process.env);
const common = commonDependencies();
const program = loadProgram();

const dependenciesFor = (projects: readonly string[], routesCacheMs = 0): Dependencies => ({
  ...common,
  cloud: makeCloud({ projects, program, routesCacheMs }),
});

/** Used for events about individual nodes. Many of these events arrive together and share the network data. */
export const dependencies = dependenciesFor(settings.projects, 5_000);

/** One set of dependencies for each project, so that an error in one project does not affect the others. */
export const eachProject: NonEmpty<Dependencies> = [
  dependenciesFor(settings.projects.slice(0, 1)),
  ...settings.projects.slice(1).map((project) => dependenciesFor([project])),
];
