import { readFileSync } from 'node:fs';
import { computeMethodsOfCli } from '../../../infra/bundle/compute-methods';
import { pruneComputeProtos } from '../../../infra/bundle/compute-protos';

const whole = readFileSync(require.resolve('@google-cloud/compute/build/protos/protos.json'), 'utf8');

/** What the bundle of the command line has in the place of protos.json (jest.config.js). */
export const { nested } = pruneComputeProtos(whole, computeMethodsOfCli);
