import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** A Debian system that debootstrap builds. */
export interface Recipe {
  readonly suite: string;
  readonly packages: readonly string[];
  /** The files that are added: their paths and text. */
  readonly files?: Readonly<Record<string, string>>;
}

/**
 * Returns the folder of the system. If it is missing, builds the system, which takes one or two minutes and about
 * 300 MB, and removes what older recipes left in the same cache.
 */
export async function debianSystem(cache: string, recipe: Recipe): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(recipe)).digest('hex');
  const system = join(cache, hash.slice(0, 16));
  if (existsSync(system)) return system;
  rmSync(cache, { recursive: true, force: true });
  mkdirSync(cache, { recursive: true });
  // The folder has a temporary name until it is complete.
  const unfinished = `${system}.unfinished`;
  await debootstrap(unfinished, recipe);
  for (const [path, text] of Object.entries(recipe.files ?? {})) {
    mkdirSync(dirname(join(unfinished, path)), { recursive: true });
    writeFileSync(join(unfinished, path), text);
  }
  rmSync(join(unfinished, 'var/cache/apt'), { recursive: true, force: true });
  renameSync(unfinished, system);
  return system;
}

/** Options of `unshare` for namespaces whose mounts and processes end together with it. */
export const ownNamespaces = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];

async function debootstrap(target: string, { suite, packages }: Recipe): Promise<void> {
  const include = `--include=${packages.join(',')}`;
  const args = ['--variant=minbase', include, suite, target, ...packageSource(suite)];
  console.error(`+ debootstrap ${args.join(' ')}`);
  const { code, output } = await finish(
    spawn('unshare', [...ownNamespaces, 'debootstrap', ...args], { stdio: ['ignore', 'pipe', 'pipe'] }),
  );
  if (code !== 0) throw new Error(`${output}debootstrap exited with ${code}; see its output above`);
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Waits for a program that was started with `unshare` in its own namespaces. Ctrl-C kills it: unshare ignores all
 * other signals.
 */
export async function finish(child: ChildProcess): Promise<{ code: number; output: string }> {
  const chunks: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
    });
  const interrupt = () => {
    child.kill('SIGKILL');
    process.exitCode = 130;
  };
  for (const signal of signals) process.on(signal, interrupt);
  try {
    const code = await new Promise<number>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (ended) => {
        resolve(ended ?? 130);
      });
    });
    return { code, output: Buffer.concat(chunks).toString() };
  } finally {
    for (const signal of signals) process.off(signal, interrupt);
  }
}

/**
 * Returns the mirror that apt on this machine uses for the Debian release or, if there is none, for another release:
 * that mirror is reachable, and a mirror has every release. Returns nothing if apt uses no Debian mirror; debootstrap
 * then uses its default.
 */
function packageSource(suite: string): string[] {
  const filter = ['Created-By: Packages', 'Component: main', 'Origin: Debian', 'Label: Debian'];
  const sitesOf = (...more: string[]) => {
    const argv = ['indextargets', '--format', '$(REPO_URI)', ...filter, ...more];
    return execFileSync('apt-get', argv, { encoding: 'utf8' }).split('\n').filter(Boolean);
  };
  return [...sitesOf(`Codename: ${suite}`), ...sitesOf()].slice(0, 1);
}
