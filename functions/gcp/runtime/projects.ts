import { makeCloud } from '../../../shared/gcp/cloud';
import type { Dependencies } from '../../../shared/core/reconcile/reconcile';
import type { NonEmpty } from '../../../shared/core/util/collections';
import { commonDependencies } from '../../runtime/dependencies';
import { loadProgram } from '../../runtime/settings';
import { readSettings } from './settings';

/** Read when the function starts, so that a bad setting or a bad config stops it there. */
export const settings = readSettings(process.env);
const common = commonDependencies();
const program = loadProgram();

const dependenciesFor = (projects: readonly string[], routesCacheMs = 0): Dependencies => ({
  ...common,
  cloud: makeCloud({ projects, program, routesCacheMs }),
});

/** For events of single nodes. Many arrive together and share what they read of the networks. */
export const dependencies = dependenciesFor(settings.projects, 5_000);

/** One per project, so that an error in one project does not affect the others. */
export const eachProject: NonEmpty<Dependencies> = [
  dependenciesFor(settings.projects.slice(0, 1)),
  ...settings.projects.slice(1).map((project) => dependenciesFor([project])),
];
