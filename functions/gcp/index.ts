import { cloudEvent, http } from '@google-cloud/functions-framework';
import { backfillNodes } from './backfill';
import { nodeJoined } from './node-joined';
import { peeringChanged } from './peering-changed';

cloudEvent('nodeJoined', nodeJoined);
cloudEvent('peeringChanged', peeringChanged);
http('backfill', backfillNodes);
