import { makeAwsCloud } from '../../shared/aws/cloud';
import { dependenciesFor } from '../dependencies';
import { stage } from '../settings';

/** One region, that of the function; made when the function starts, so that a bad config stops it there. */
export const dependencies = dependenciesFor(
  makeAwsCloud({ region: process.env['AWS_REGION'] ?? 'us-east-1', stage: stage() }),
);
