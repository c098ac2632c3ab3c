import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { packedLimit, packedPattern, ruleSetParameter } from '../../shared/aws/names';

/** Bytes; SSM refuses larger documents (SSM quotas). */
const sizeLimit = 64 * 1024;

/**
 * Writes the program beside the old one and renames it, then runs it with bash: nothing needs an executable
 * bit, so /var may be mounted noexec. It speaks plain sh, because that is what the agent runs it with.
 *
 * Agents before 3.3.2746 do not set the variable and paste the parameter into the text instead; the
 * parameter's pattern leaves them nothing that could end the quotes.
 */
const script = (program: string) => `set -eu
if [ -z "\${SSM_${ruleSetParameter}+set}" ]; then SSM_${ruleSetParameter}='{{ ${ruleSetParameter} }}'; fi
folder="\${PEERMASQ_DIR:-/var/lib/peermasq}"
umask 077
mkdir -p "$folder"
written="$(mktemp "$folder/.peermasq.sh.XXXXXX")"
trap 'rm -f "$written"' EXIT
base64 -d <<'END' | gzip -d > "$written"
${program}
END
mv -f "$written" "$folder/peermasq.sh"
printf '%s\\n' "$SSM_${ruleSetParameter}" | bash "$folder/peermasq.sh" apply`;

/** As text the program would not fit beside its JSON escapes; packed it takes a third of the room. */
function pack(program: string): string {
  const lines =
    gzipSync(program, { level: 9 })
      .toString('base64')
      .match(/.{1,120}/g) ?? [];
  return lines.join('\n');
}

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
 * The SSM document: a fixed program and one data parameter.
 * @param program the text of shared/node/peermasq.sh
 * @throws Error if the document cannot carry the program
 */
export function makeDocument(program: string): SsmDocument {
  const sha256 = createHash('sha256').update(program).digest('hex');
  const document: SsmDocument = {
    schemaVersion: '2.2',
    description: `Applies a peermasq rule set to a Kubernetes node. Its program, peermasq.sh, has sha256 ${sha256}.`,
    parameters: {
      [ruleSetParameter]: {
        type: 'String',
        description: 'The rule set: gzip, in base64.',
        allowedPattern: packedPattern,
        maxChars: packedLimit,
        interpolationType: 'ENV_VAR',
      },
    },
    mainSteps: [
      {
        action: 'aws:runShellScript',
        name: 'apply',
        precondition: { StringEquals: ['platformType', 'Linux'] },
        inputs: { timeoutSeconds: '300', runCommand: script(pack(program)).split('\n') },
      },
    ],
  };
  const bytes = Buffer.byteLength(JSON.stringify(document));
  if (bytes >= sizeLimit)
    throw new Error(`The document has ${bytes} bytes; SSM takes less than ${sizeLimit}`);
  return document;
}
