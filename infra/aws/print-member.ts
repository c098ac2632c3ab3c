import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';
import * as z from 'zod';
import { joinNodeProgram } from '../join-node-program';
import { memberTemplate } from './member';
import { clustersIn } from './resources';
import { accountId, launchGate, stageName } from './settings';

/** Prints the template for member accounts (docs/aws.md) on one line, to keep it small. */
function main(): void {
  const { values } = parseArgs({
    options: {
      stage: { type: 'string' },
      central: { type: 'string' },
      'launch-gate': { type: 'string', default: 'off' },
    },
  });
  const options = z
    .object({ stage: stageName, central: accountId, 'launch-gate': launchGate })
    .safeParse(values);
  if (!options.success) {
    console.error(`${z.prettifyError(options.error)}
Usage: npx tsx infra/aws/print-member.ts --stage STAGE --central ACCOUNT_ID [--launch-gate off|continue|abandon]`);
    process.exitCode = 1;
    return;
  }
  const { stage, central, 'launch-gate': gate } = options.data;
  const service = z
    .object({ functions: z.record(z.string(), z.unknown()) })
    .parse(parse(readFileSync('serverless.yml', 'utf8'), { logLevel: 'silent' }));
  const template = memberTemplate({
    stage,
    central,
    launchGate: gate,
    clusters: clustersIn(readFileSync('peermasq.yaml', 'utf8')),
    functions: Object.keys(service.functions),
    program: joinNodeProgram(),
  });
  console.log(JSON.stringify(template));
}

main();
