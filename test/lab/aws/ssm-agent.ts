import type { SsmDocument } from '../../../infra/aws/document';
import type { CommandResult } from '../machine';
import type { LabAgent } from './state';

/**
 * Runs a command document like the SSM agent, which writes the lines of a step to a file and runs it with `sh -c FILE`
 * and empty stdin (aws/amazon-ssm-agent: `agent/plugins/runscript`, `agent/plugins/pluginutil`).
 */
export async function runDocument(
  { machine, version, platformType }: LabAgent,
  document: SsmDocument,
  parameters: Readonly<Record<string, string>>,
  agentEnv: Readonly<Record<string, string>>,
): Promise<CommandResult> {
  const [step] = document.mainSteps;
  if (!step) throw new Error('The document has no steps');
  const [, platform] = step.precondition.StringEquals;
  if (platform !== platformType) {
    const stdout = `Step execution skipped due to unsupported platform: ${platformType}. Step name: ${step.name}`;
    return { status: 0, stdout, stderr: '' };
  }
  const setsVariables = isAtLeast(version, [3, 3, 2746]);
  const variables = Object.fromEntries(
    Object.entries(parameters)
      .filter(([name]) => setsVariables && document.parameters[name]?.interpolationType === 'ENV_VAR')
      .map(([name, value]) => [`SSM_${name}`, value]),
  );
  const textParameters = setsVariables ? {} : parameters;
  return machine.run(['sh', '-c', agentScript], {
    stdin: `${step.inputs.runCommand.map((line) => substituteParameters(line, textParameters)).join('\n')}\n`,
    env: { ...agentEnv, ...variables },
    timeoutMs: Number(step.inputs.timeoutSeconds) * 1_000,
  });
}

/**
 * A shell command that writes the script to a file and runs it, because only programs on the machine can access its
 * files.
 */
const agentScript = `folder="$(mktemp -d)" && cat > "$folder/_script.sh" && chmod 700 "$folder/_script.sh" || exit 1
sh -c "$folder/_script.sh" < /dev/null
status=$?
rm -rf "$folder"
exit $status`;

/**
 * Replaces `{{ name }}` with the parameter's value. The agent turns `$$` in a value into `$`
 * (`docparser/parameters/parameters.go`).
 */
function substituteParameters(line: string, parameters: Readonly<Record<string, string>>): string {
  return line.replaceAll(/\{\{\s*([a-zA-Z0-9]+)\s*\}\}/g, (whole, name: string) =>
    Object.hasOwn(parameters, name) ? (parameters[name] ?? '').replaceAll('$$', '$') : whole,
  );
}

function isAtLeast(version: string, wanted: readonly number[]): boolean {
  const parts = version.split('.').map(Number);
  const different = wanted.findIndex((part, i) => part !== parts[i]);
  return different === -1 || (parts[different] ?? 0) > (wanted[different] ?? 0);
}
