import { parseArgs } from 'node:util';
import { killAtRandom } from './kills';
import { race } from './races';
import { openStress } from './stress';
import { type Backend, backends } from './stressed-node';

const usage = `Usage: npm run test:stress -- [OPTION…]
Kills the node program at random moments and lets runs of it race, while programs like kube-proxy, ip-masq-agent and
Calico's Felix write to the same tables. Each kill and race is checked: the kernel has the old or the new rules, and
nothing of the other programs has changed.
  --kills N         kills for each backend (default: 300)
  --races N         races of three applies and a repair for each backend (default: 100)
  --seed N          a seed that an earlier run printed; the moments of kills still differ with the machine's load
  --backend NAME    run one backend: ${backends.join(', ')}
  --help            print this text`;

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '300' },
    races: { type: 'string', default: '100' },
    seed: { type: 'string' },
    backend: { type: 'string' },
    help: { type: 'boolean' },
  },
});

async function main(): Promise<void> {
  if (values.help === true) {
    console.log(usage);
    return;
  }
  if (process.env['PEERMASQ_LAB'] !== 'yes')
    throw new Error(
      `kernel namespaces are needed: ${process.env['PEERMASQ_LAB'] ?? 'use npm run test:stress'}`,
    );
  const included = backends.filter((name) => name === (values.backend ?? name));
  if (included.length === 0) throw new Error(`there is no backend ${values.backend ?? ''}\n${usage}`);
  const seed = numberOf('seed', values.seed ?? String(Date.now() % 1_000_000));
  console.log(`seed ${seed}`);
  for (const backend of included) await run(backend, seed);
}

async function run(backend: Backend, seed: number): Promise<void> {
  const stress = await openStress(backend, seed);
  try {
    const { killed, ended, found } = await killAtRandom(stress, numberOf('kills', values.kills));
    console.log(`${backend}: killed ${list(killed)}; ${ended} had ended before the kill`);
    console.log(`${backend}: rules after the kills: ${list(found)}`);
    const raced = await race(stress, numberOf('races', values.races));
    console.log(`${backend}: races ${values.races}: ${list(raced)}`);
    console.log(`${backend}: ${stress.writers.counts()}`);
  } finally {
    await stress.writers.pause();
    await stress.node.close();
    const { errors } = stress;
    for (const error of errors.slice(0, 5)) console.error(`${backend}: ${error}`);
    console.log(`${backend}: ${errors.length} errors`);
    if (errors.length > 0) process.exitCode = 1;
  }
}

const list = (counts: object) =>
  Object.entries(counts)
    .map(([name, count]) => `${name} ${String(count)}`)
    .join(', ');

function numberOf(option: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new Error(`invalid --${option} ${text}: expected a number`);
  return Number(text);
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
