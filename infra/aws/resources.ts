import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { documentName, snapshotDocumentName } from '../../shared/aws/names';
import { parseConfig } from '../../shared/core/model/config';
import { joinNodeProgram, nodeProgramSections } from '../join-node-program';
import { alarmResources } from './alarms';
import type { Resource, Resources } from './cloudformation';
import { dashboardResources } from './dashboard';
import { makeDocument, makeSnapshotDocument, type SsmDocument } from './document';
import { queueResources } from './queues';
import { roleResources } from './roles';
import { ruleResources } from './rules';
import { parseSettings } from './settings';

/**
 * Returns all resources of the stack except the functions. serverless.yml includes them.
 * @param folder the folder of the service
 * @param read reads the parameters and functions of serverless.yml
 * @throws Error that lists all errors in the parameters or the config, or says what has to be built first
 */
export function stackResources(folder: string, read: unknown): Resources {
  const settings = parseSettings(read);
  const program = readBuilt(folder, 'peermasq.sh', {
    source: nodeProgramSections,
    now: joinNodeProgram(folder),
  });
  const now = readFileSync(join(folder, 'peermasq.yaml'), 'utf8');
  const config = readBuilt(folder, 'peermasq.yaml', { source: 'peermasq.yaml', now });
  return {
    Document: applyDocument(settings.stage, program),
    SnapshotDocument: snapshotDocument(settings.stage, program),
    ...queueResources(settings),
    ...ruleResources(settings),
    ...roleResources(settings, clustersIn(config)),
    ...alarmResources(settings),
    ...dashboardResources(settings),
  };
}

export const clustersIn = (config: string): string[] => parseConfig(config).clusters.map(({ name }) => name);

/** Returns the document with which the functions push rule sets. */
export const applyDocument = (stage: string, program: string): Resource =>
  documentResource(documentName(stage), makeDocument(program));

/** Returns the document with which operators take snapshots, with their own permissions. */
const snapshotDocument = (stage: string, program: string): Resource =>
  documentResource(snapshotDocumentName(stage), makeSnapshotDocument(program));

function documentResource(name: string, content: SsmDocument): Resource {
  return {
    Type: 'AWS::SSM::Document',
    Properties: {
      Name: name,
      DocumentType: 'Command',
      DocumentFormat: 'JSON',
      TargetType: '/AWS::EC2::Instance',
      // By default CloudFormation replaces the document, which fails because the document has a fixed name.
      UpdateMethod: 'NewVersion',
      Content: content,
    },
  };
}

/** Reads a file that `npm run build` wrote. The file must be up to date, because it is deployed with the functions. */
function readBuilt(folder: string, name: string, { source, now }: { source: string; now: string }): string {
  if (readIfExists(join(folder, 'dist/aws', name)) === now) return now;
  throw new Error(`dist/aws/${name} is out of date: ${source} has changed. Run: npm run build`);
}

function readIfExists(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
