import type { Environment, Pod, Source } from '../node/environments/environment';

/** The table cells about an environment in docs/environments.md, which the tests of the node program check. */
export interface EnvironmentCells {
  readonly name: string;
  readonly before: string;
  readonly after: string;
  readonly proven: string;
}

export const cellsOf = (environment: Environment): EnvironmentCells => ({
  name: environment.name,
  before: describeAll(environment, 'before'),
  after: describeAll(environment, 'after'),
  proven: environment.pending === undefined ? describeVerdict(environment) : 'not handled yet',
});

/** Joins the distinct results of an environment's pods, in the order of the pods. */
const describeAll = (environment: Environment, phase: 'before' | 'after'): string =>
  [...new Set(environment.pods.map((pod) => describeSource(pod, pod.peer[phase], environment)))].join(', ');

function describeSource(pod: Pod, source: Source, { uplinks }: Environment): string {
  if (source === 'dropped') return 'hangs';
  if (pod.sidecar) return 'sidecar answers';
  if (source === pod.address) return 'pod';
  return source === uplinks[0].address ? 'node' : 'other interface';
}

function describeVerdict({ expected: { proven, code } }: Environment): string {
  if (proven === undefined) return 'if a probe is answered';
  if (proven) return 'yes';
  return code === undefined ? 'no' : `no: \`${code}\``;
}

/** Reads the cells of all table rows that begin with the name of an environment. */
export const parseCells = (page: string): EnvironmentCells[] =>
  [...page.matchAll(/^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| [^|]+ \|$/gm)]
    .map(([, name = '', before = '', after = '', proven = '']) => ({
      name: name.trim(),
      before: before.trim(),
      after: after.trim(),
      proven: proven.trim(),
    }))
    .filter(({ name }) => !/^(environment|-+)$/.test(name));
