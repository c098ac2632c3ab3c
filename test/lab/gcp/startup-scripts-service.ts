import type { CommandResult, Machine } from '../machine';

interface BootOptions {
  /** The `HOST:PORT` of the node's metadata server. Defaults to the real server's address. */
  readonly metadataHost?: string;
  /** Additional environment variables, such as PEERMASQ_DIR. */
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

/**
 * Runs the startup script as google-startup-scripts.service does at boot (GoogleCloudPlatform/guest-agent:
 * google_metadata_script_runner/main.go). It takes the instance's script, or the project's script if the instance has
 * neither a script nor a script URL, removes leading white space, and runs the script with `bash -c FILE` from a new
 * temporary directory.
 * @returns the result of the script, or `undefined` if there is no script to run
 */
export async function bootGceNode(
  machine: Machine,
  boot: BootOptions = {},
): Promise<CommandResult | undefined> {
  const { metadataHost, env = {}, timeoutMs = 30_000 } = boot;
  const script =
    (await readStartupScript(machine, 'instance', metadataHost)) ??
    (await readStartupScript(machine, 'project', metadataHost));
  if (!script) return undefined;
  const folder = (await runOrThrow(machine, ['mktemp', '-d', '-t', 'metadata-scripts.XXXXXX'])).trim();
  const file = `${folder}/startup-script`;
  await runOrThrow(machine, ['tee', file], script.replace(/^[ \n\v\f\t\r]+/, ''));
  await runOrThrow(machine, ['chmod', '0755', file]);
  const finished = await machine.run(['/bin/bash', '-c', file], {
    env: { ...(metadataHost === undefined ? {} : { GCE_METADATA_HOST: metadataHost }), ...env },
    timeoutMs,
  });
  await runOrThrow(machine, ['rm', '-rf', folder]);
  return finished;
}

/** Returns the script of the instance or project, or '' if it has only a script URL, which the lab does not fetch. */
async function readStartupScript(
  machine: Machine,
  level: 'instance' | 'project',
  host = '169.254.169.254',
): Promise<string | undefined> {
  const address = `http://${host}/computeMetadata/v1/${level}/attributes/?recursive=true&alt=json`;
  const text = await runOrThrow(machine, ['curl', '-sf', '-H', 'Metadata-Flavor: Google', address]);
  const { 'startup-script': script, 'startup-script-url': url } = JSON.parse(text) as Record<string, string>;
  if (script) return script;
  return url ? '' : undefined;
}

async function runOrThrow(machine: Machine, argv: readonly string[], stdin?: string): Promise<string> {
  const { status, stdout, stderr } = await machine.run(argv, stdin === undefined ? {} : { stdin });
  if (status !== 0) throw new Error(`${argv.join(' ')} exited with ${status}: ${stderr}`);
  return stdout;
}
