import { createHash } from 'node:crypto';
import {
  packedLimit,
  packedPattern,
  partParameter,
  partPattern,
  ruleSetParameter,
} from '../../shared/aws/names';
import { installProgram, unpackProgram } from '../../shared/core/render/install-program';

/** The size limit in bytes. SSM rejects larger documents (SSM quotas). */
const sizeLimit = 64 * 1024;

/**
 * Reads the parameter with plain sh, because the agent runs scripts with sh.
 *
 * Agents older than 3.3.2746 do not set the variable, but insert the parameter into the text. The parameter's pattern
 * allows no character that could end the quotes.
 */
const readParameter = (name: string) =>
  `if [ -z "\${SSM_${name}+set}" ]; then SSM_${name}='{{ ${name} }}'; fi`;

const applyScript = (program: string) => `set -eu
${readParameter(ruleSetParameter)}
${installProgram(program)}
printf '%s\\n' "$SSM_${ruleSetParameter}" | bash "$folder/peermasq.sh" apply`;

/** Runs the program from a temporary file, because a snapshot must not install or replace the program on the node. */
const snapshotScript = (program: string) => `set -eu
${readParameter(partParameter)}
umask 077
written="$(mktemp)"
${unpackProgram(program)}
bash "$written" snapshot --part "$SSM_${partParameter}"`;

export interface SsmDocument {
  readonly schemaVersion: '2.2';
  readonly description: string;
  readonly parameters: Readonly<Record<string, SsmParameter>>;
  readonly mainSteps: readonly SsmStep[];
}

export interface SsmParameter {
  readonly type: 'String';
  readonly description: string;
  readonly allowedPattern: string;
  readonly maxChars: number;
  readonly interpolationType: 'ENV_VAR';
}

export interface SsmStep {
  readonly action: 'aws:runShellScript';
  readonly name: string;
  readonly precondition: { readonly StringEquals: readonly [string, string] };
  readonly inputs: { readonly timeoutSeconds: string; readonly runCommand: readonly string[] };
}

/**
 * Builds the SSM document that applies a rule set. The document contains a fixed program and has one data parameter.
 * @param program the joined node program
 * @throws Error if the program does not fit in the document
 */
export function makeDocument(program: string): SsmDocument {
  return documentOf(program, {
    step: 'apply',
    description: 'Applies a peermasq rule set to a Kubernetes node.',
    script: applyScript,
    timeoutSeconds: 300,
    parameter: ruleSetParameter,
    parameterSpec: {
      description: 'The rule set, as gzip in base64.',
      allowedPattern: packedPattern,
      maxChars: packedLimit,
    },
  });
}

/**
 * Builds the SSM document that prints a snapshot in parts and changes nothing. The parameter and the errors are those
 * of makeDocument.
 */
export function makeSnapshotDocument(program: string): SsmDocument {
  return documentOf(program, {
    step: 'snapshot',
    description: 'Prints the rules of a Kubernetes node and changes nothing.',
    script: snapshotScript,
    timeoutSeconds: 60,
    parameter: partParameter,
    parameterSpec: {
      description: 'The number of the part; part 0 takes a new snapshot.',
      allowedPattern: partPattern,
      maxChars: 3,
    },
  });
}

interface DocumentSpec {
  readonly step: string;
  readonly description: string;
  readonly script: (program: string) => string;
  readonly timeoutSeconds: number;
  readonly parameter: string;
  readonly parameterSpec: Pick<SsmParameter, 'description' | 'allowedPattern' | 'maxChars'>;
}

function documentOf(program: string, spec: DocumentSpec): SsmDocument {
  const { step, description, script, timeoutSeconds, parameter, parameterSpec } = spec;
  const sha256 = createHash('sha256').update(program).digest('hex');
  const document: SsmDocument = {
    schemaVersion: '2.2',
    description: `${description} The program peermasq.sh has the sha256 hash ${sha256}.`,
    parameters: { [parameter]: { type: 'String', ...parameterSpec, interpolationType: 'ENV_VAR' } },
    mainSteps: [
      {
        action: 'aws:runShellScript',
        name: step,
        precondition: { StringEquals: ['platformType', 'Linux'] },
        inputs: {
          timeoutSeconds: String(timeoutSeconds),
          runCommand: script(program).split('\n'),
        },
      },
    ],
  };
  const bytes = Buffer.byteLength(JSON.stringify(document));
  if (bytes >= sizeLimit)
    throw new Error(`The document has ${bytes} bytes; SSM accepts fewer than ${sizeLimit}`);
  return document;
}
