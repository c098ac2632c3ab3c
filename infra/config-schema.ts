import { writeFileSync } from 'node:fs';
import * as z from 'zod';
import { configSchema } from '../shared/core/model/config-schema';

/** Writes the JSON Schema of peermasq.yaml, which editors use. */
const schema = z.toJSONSchema(configSchema, { io: 'input' });
writeFileSync('docs/peermasq.schema.json', `${JSON.stringify(schema, null, 2)}\n`);
