import { cloudEvent, http } from '@google-cloud/functions-framework';
import { backfillNodes } from './backfill';
import { nodeJoined } from './node-joined';

cloudEvent('nodeJoined', nodeJoined);
http('backfill', backfillNodes);
