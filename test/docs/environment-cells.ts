import type { Environment, Pod, Source } from '../node/environments/environment';

/** The cells of an environment's row in docs/environments.md. Tests compare them with the environment's definition. */
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
  proven: describeVerdict(environment),
});

/** Describes the results of all pods in an environment, without duplicates and in the order of the pods. */
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

/** Returns the cells of every table row on the page that describes an environment. */
export const parseCells = (page: string): EnvironmentCells[] =>
  [...page.matchAll(/^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| [^|]+ \|$/gm)]
    .map(([, name = '', before = '', after = '', proven = '']) => ({
      name: name.trim(),
      before: before.trim(),
      after: after.trim(),
      proven: proven.trim(),
    }))
    .filter(({ name }) => !/^(environment|-+)$/.test(name));
