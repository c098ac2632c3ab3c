import { readFileSync } from 'node:fs';
import { computeMethodsOfCli } from '../../../infra/bundle/compute-methods';
import { pruneComputeProtos } from '../../../infra/bundle/compute-protos';

const whole = readFileSync(require.resolve('@google-cloud/compute/build/protos/protos.json'), 'utf8');

/**
 * The pruned protos.json of the command line's bundle. jest.config.js replaces the client's own file with this one.
 */
export const { nested } = pruneComputeProtos(whole, computeMethodsOfCli);
