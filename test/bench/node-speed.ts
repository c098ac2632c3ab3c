import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildNetworks, type Networks } from '../lab/networks';
import { gcpPeering } from '../lab/topologies';
import { nodeProgramFile } from '../lab/node-program';
import { timeNewConnections } from './new-connections';

/** A measured figure of the node program, with a reference from the same run. */
export interface SpeedFigure {
  readonly name: string;
  readonly unit: string;
  readonly values: readonly number[];
  readonly target: number;
  /** Whether the value may not be greater than the target, or not be less. */
  readonly limit: 'at most' | 'at least';
  /** What the value is compared with: the name of the reference, and its values in the unit of the figure. */
  readonly reference?: { readonly name: string; readonly values: readonly number[] };
}

const rounds = 5;
const foreignRules = 10_000;
/** With the minute timer, a proof ends after 530 seconds, so that seven of the 60 repairs of an hour check everything. */
const fullChecksPerHour = 7;
const backend = 'iptables-nft';

const ruleSet = (generation: number, destinations: number) =>
  [
    ...['peermasq/2', `generation ${generation}`],
    ...['source 10.132.0.0/14', 'exempt 10.132.0.0/14 pods'],
    ...ranges(destinations).map((range, i) => `masquerade ${range} name-${i}`),
    '',
  ].join('\n');

/** The first range contains the peer. */
const ranges = (count: number) =>
  Array.from({ length: count }, (_, i) =>
    i === 0 ? '10.193.0.0/24' : `10.${194 + (i >> 8)}.${i & 255}.0/24`,
  );

/** Measures the speed of the node program on iptables-nft. References are measured in turn with the program. */
export async function measureNodeSpeed(): Promise<SpeedFigure[]> {
  const networks = await buildNetworks(gcpPeering);
  const bench = new Bench(networks);
  try {
    const alone = await bench.measure(1);
    const thousand = await bench.measure(1_000);
    const many = await bench.measure(10_000);
    const connections = await timeNewConnections(networks, rounds, {
      bare: () => bench.applyBare(1),
      ours: () => bench.applyOurs(10_000),
    });
    await bench.addForeignRules();
    const beside = await bench.measure(1);
    return [
      ...besideForeignRules(alone, beside),
      ...withDestinations(thousand, many),
      newConnections(connections),
    ];
  } finally {
    await networks.close();
  }
}

function besideForeignRules(alone: Measured, beside: Measured): SpeedFigure[] {
  const figure = (name: string, values: readonly number[], reference: readonly number[]): SpeedFigure => ({
    name: `${name} beside ${foreignRules} foreign rules`,
    unit: 's CPU',
    values,
    target: 1.5 * median(reference),
    limit: 'at most',
    reference: { name: 'beside no other rule', values: reference },
  });
  return [
    figure('repair that checks everything,', beside.fullRepair, alone.fullRepair),
    figure('apply', beside.apply, alone.apply),
  ];
}

function withDestinations(thousand: Measured, many: Measured): SpeedFigure[] {
  const limit = 'at most';
  const unit = 's CPU';
  const bare = ({ bareApply }: Measured) => ({
    name: 'ipset and iptables-nft-restore alone',
    values: bareApply,
  });
  const perHour = many.repair.map(
    (fast, i) => fast * (60 - fullChecksPerHour) + (many.fullRepair[i] ?? NaN) * fullChecksPerHour,
  );
  const bash = { name: 'bash reads the program', values: many.bash };
  return [
    {
      name: 'apply 10,000 destinations',
      unit,
      values: many.apply,
      target: 0.5,
      limit,
      reference: bare(many),
    },
    {
      name: 'apply 1,000 destinations',
      unit,
      values: thousand.apply,
      target: 0.12,
      limit,
      reference: bare(thousand),
    },
    {
      name: 'repair 10,000 unchanged destinations',
      unit,
      values: many.repair,
      target: 0.08,
      limit,
      reference: bash,
    },
    { name: 'processes of an apply', unit: '', values: many.applyProcesses, target: 25, limit },
    { name: 'processes of a repair', unit: '', values: many.repairProcesses, target: 8, limit },
    { name: 'timer at 10,000 destinations, per hour', unit, values: perHour, target: 15, limit },
  ];
}

const newConnections = ({ bare, ours }: { bare: number[]; ours: number[] }): SpeedFigure => ({
  name: 'new connections at 10,000 destinations',
  unit: '/s',
  values: ours,
  target: 0.95 * median(bare),
  limit: 'at least',
  reference: { name: 'one bare rule', values: bare },
});

interface Measured {
  readonly apply: number[];
  readonly fullRepair: number[];
  readonly repair: number[];
  readonly bareApply: number[];
  readonly bash: number[];
  readonly applyProcesses: number[];
  readonly repairProcesses: number[];
}

class Bench {
  private readonly folder: string;
  private generation = 0;

  constructor(private readonly networks: Networks) {
    this.folder = networks.nodeHost.folder;
  }

  async measure(destinations: number): Promise<Measured> {
    const measured: Measured = {
      apply: [],
      fullRepair: [],
      repair: [],
      bareApply: [],
      bash: [],
      applyProcesses: [],
      repairProcesses: [],
    };
    for (let round = 0; round < rounds; round++) {
      await this.clear();
      measured.bareApply.push(await this.applyBare(destinations));
      await this.clear();
      measured.bash.push(await this.cpu(`bash ${nodeProgramFile} help`));
      measured.apply.push(await this.applyOurs(destinations));
      measured.fullRepair.push(await this.cpu(this.program('repair')));
      measured.repair.push(await this.cpu(this.program('repair')));
    }
    measured.repairProcesses.push(await this.processes(this.program('repair')));
    await this.clear();
    measured.applyProcesses.push(await this.processes(this.applyCommand(destinations)));
    return measured;
  }

  applyOurs(destinations: number): Promise<number> {
    return this.cpu(this.applyCommand(destinations));
  }

  /** Adds the same set and a bare rule without the node program. */
  async applyBare(destinations = 1): Promise<number> {
    const set = join(this.folder, 'bare.ipset');
    const rules = join(this.folder, 'bare.rules');
    const members = ranges(destinations).map((range) => `add bare ${range}\n`);
    writeFileSync(set, `create bare hash:net family inet maxelem 65536\n${members.join('')}`);
    const match = destinations === 1 ? '-d 10.193.0.0/24' : '-m set --match-set bare dst';
    writeFileSync(
      rules,
      `*nat\n:BARE - [0:0]\n-I POSTROUTING 1 -j BARE\n-A BARE -s 10.132.0.0/14 ${match} -m addrtype ! --dst-type LOCAL -j MASQUERADE\nCOMMIT\n`,
    );
    const restoreSet = destinations === 1 ? ':' : `ipset restore <${set}`;
    return this.cpu(`${restoreSet}; ${backend}-restore --noflush <${rules}`);
  }

  async addForeignRules(): Promise<void> {
    const rules = Array.from(
      { length: foreignRules },
      (_, i) => `-A KUBE-SERVICES -d 10.64.${i >> 8}.${i & 255}/32 -p tcp -m tcp --dport 80 -j RETURN\n`,
    );
    const file = join(this.folder, 'foreign.rules');
    writeFileSync(
      file,
      `*nat\n:KUBE-SERVICES - [0:0]\n-A PREROUTING -j KUBE-SERVICES\n${rules.join('')}COMMIT\n`,
    );
    await this.run(`${backend}-restore --noflush <${file}`);
  }

  private program(args: string): string {
    const env = `PEERMASQ_DIR=${this.folder}/speed PEERMASQ_BACKEND=${backend} PEERMASQ_PERSIST=0`;
    return `${env} bash ${nodeProgramFile} ${args}`;
  }

  private applyCommand(destinations: number): string {
    const file = join(this.folder, 'speed.ruleset');
    writeFileSync(file, ruleSet(++this.generation, destinations));
    return this.program(`apply --file ${file}`);
  }

  /** Removes our rules, those of the reference and the stored files, but no foreign rule. */
  private async clear(): Promise<void> {
    await this.run(`${this.program('remove')} >/dev/null 2>&1 || :
      ${backend} -t nat -D POSTROUTING -j BARE 2>/dev/null && { ${backend} -t nat -F BARE; ${backend} -t nat -X BARE; }
      ipset destroy bare 2>/dev/null || :`);
  }

  private async run(script: string): Promise<string> {
    return this.networks.nodeHost.run(['bash', '-c', script], { timeoutMs: 300_000 });
  }

  /** Returns the CPU time of a command and its children in seconds. */
  private async cpu(command: string): Promise<number> {
    const printed = await this.run(
      `TIMEFORMAT='%3U %3S'; { time { ${command}; } >/dev/null 2>&1; } 2>&1 | tail -n 1`,
    );
    const [user = NaN, system = NaN] = printed.trim().split(' ').map(Number);
    return user + system;
  }

  /** Returns the number of processes that a command starts, in a process namespace of its own. */
  private async processes(command: string): Promise<number> {
    const count = `first=$(exec sh -c 'echo $$'); env ${command} >/dev/null 2>&1; last=$(exec sh -c 'echo $$'); echo $((last - first - 2))`;
    const printed = await this.run(`unshare --pid --fork --mount-proc bash -c ${quote(count)}`);
    return Number(printed);
  }
}

const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

/** Prints one line for each figure: median and spread, the ratio to the reference, the target, and whether it is met. */
export function printNodeSpeed(figures: readonly SpeedFigure[]): void {
  console.log('The node program on iptables-nft');
  for (const figure of figures) {
    const { name, unit, values, target, limit, reference } = figure;
    const ratio = reference
      ? `, ${round(median(values) / median(reference.values))} × ${reference.name} (${spreadOf(reference.values)})`
      : '';
    const result = isMet(figure) ? 'met' : 'NOT MET';
    console.log(
      `  ${name}: ${spreadOf(values)} ${unit}${ratio}; target ${limit} ${round(target)}: ${result}`,
    );
  }
  console.log('');
}

const isMet = ({ values, target, limit }: SpeedFigure): boolean =>
  limit === 'at most' ? median(values) <= target : median(values) >= target;

const spreadOf = (values: readonly number[]): string =>
  `${round(median(values))} (${round(Math.min(...values))} to ${round(Math.max(...values))})`;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

const round = (value: number): string =>
  value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
