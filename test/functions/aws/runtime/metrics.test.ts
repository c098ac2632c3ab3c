import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type * as Metrics from '../../../../functions/aws/runtime/metrics';
import { alarmResources } from '../../../../infra/aws/alarms';
import { dashboardResources } from '../../../../infra/aws/dashboard';
import { countCalls } from '../../../../shared/aws/client/call';
import { PermanentError } from '../../../../shared/core/model/errors';
import { nodeKey, type NodeRef } from '../../../../shared/core/model/node';
import type { Outcome } from '../../../../shared/core/reconcile/outcome';
import { definedOnly } from '../../../../shared/core/util/collections';
import { makeReport } from '../../../lab/node-report';
import { settingsWith } from '../../../infra/aws/settings';

let written: string[];
let metrics: typeof Metrics;

beforeEach(async () => {
  // The module reads the config when it is imported.
  process.env['PEERMASQ_CONFIG'] = 'peermasq.yaml';
  metrics = await import('../../../../functions/aws/runtime/metrics');
  written = [];
  jest.spyOn(process.stdout, 'write').mockImplementation((text) => written.push(String(text)) > 0);
});
afterEach(() => {
  jest.restoreAllMocks();
});

const entries = () => written.map((line) => JSON.parse(line) as unknown);

let made = 0;
const ref = (): NodeRef => ({
  cloud: 'aws',
  account: '123456789012',
  region: 'us-east-1',
  id: `i-${(made += 1).toString(16).padStart(17, '0')}`,
});
const proven = (): Outcome => ({
  node: ref(),
  cluster: 'shop',
  kind: 'proven',
  ruleSetId: '',
  report: makeReport(undefined),
  warnings: [],
});
const held = (): Outcome => ({ node: ref(), cluster: 'shop', kind: 'held', detail: '', warnings: [] });
const failed = (): Outcome => ({
  node: ref(),
  cluster: 'shop',
  kind: 'failed',
  error: new PermanentError('refused', '', { advice: '' }),
});

const sets = {
  cluster: [
    ['cloud', 'stage'],
    ['cloud', 'stage', 'cluster'],
  ],
  stage: [['cloud', 'stage']],
};

/** Returns an expected log entry in the format from which CloudWatch extracts metrics. */
const entry = (values: Record<string, unknown>, units: Record<string, string>, cluster?: string) => ({
  _aws: {
    Timestamp: expect.any(Number),
    CloudWatchMetrics: [
      {
        Namespace: 'peermasq',
        Dimensions: cluster === undefined ? sets.stage : sets.cluster,
        Metrics: Object.entries(units).map(([Name, Unit]) => ({ Name, Unit })),
      },
    ],
  },
  cloud: 'aws',
  stage: 'dev',
  ...definedOnly({ cluster }),
  ...values,
});

/** Makes two calls with a client: the first succeeds, and the second is throttled. */
async function callTwice(): Promise<void> {
  type Call = (args: object) => Promise<unknown>;
  let middleware: ((next: Call) => Call) | undefined;
  const client = { middlewareStack: { add: (one: typeof middleware) => (middleware = one) } };
  countCalls(client as unknown);
  const throttled = Object.assign(new Error('slow down'), { name: 'ThrottlingException' });
  await middleware?.(() => Promise.resolve())({});
  await middleware?.(() => Promise.reject(throttled))({}).catch(() => undefined);
}

const writers: readonly [string, () => unknown, ReturnType<typeof entry>[]][] = [
  [
    'outcomes of nodes and the time to their first proof',
    () => {
      const outcomes = [proven(), proven(), failed(), held()];
      const at = new Date(Date.now() - 30_000);
      metrics.writeNodeMetrics(outcomes, new Map(outcomes.map(({ node }) => [nodeKey(node), at])));
    },
    [
      entry(
        { NodesProven: 2, NodesFailed: 1, NodesHeld: 1 },
        { NodesProven: 'Count', NodesFailed: 'Count', NodesHeld: 'Count' },
        'shop',
      ),
      entry(
        { SecondsToProven: [expect.closeTo(30, 0), expect.closeTo(30, 0)] },
        { SecondsToProven: 'Seconds' },
        'shop',
      ),
    ],
  ],
  [
    'the highest percentage of source ports in use',
    () => {
      const ports = (used: number) => [{ to: '10.0.3.20:5432', used, range: 64_512 }];
      const full = { ...failed(), report: makeReport(undefined, { ports: ports(48_384) }) } as Outcome;
      const half = { ...proven(), report: makeReport(undefined, { ports: ports(32_256) }) } as Outcome;
      metrics.writeNodeMetrics([half, full, { ...held(), cluster: 'other' }]);
    },
    [
      entry(
        { NodesProven: 1, NodesFailed: 1, SourcePortsUsedPercent: 75 },
        { NodesProven: 'Count', NodesFailed: 'Count', SourcePortsUsedPercent: 'Percent' },
        'shop',
      ),
      entry({ NodesHeld: 1 }, { NodesHeld: 'Count' }, 'other'),
    ],
  ],
  [
    'unproven nodes',
    () => {
      metrics.writeUnproven([proven(), failed()], ['shop']);
    },
    [entry({ NodesUnproven: 1 }, { NodesUnproven: 'Count' }, 'shop')],
  ],
  [
    'API calls',
    async () => {
      await callTwice();
      metrics.writeApiMetrics();
    },
    [entry({ ApiCalls: 2, ApiThrottles: 1 }, { ApiCalls: 'Count', ApiThrottles: 'Count' })],
  ],
];

describe('an entry in the embedded metric format', () => {
  test.each(writers)('reports %s', async (_, write, wanted) => {
    await write();
    expect(entries()).toEqual(wanted);
    expect(written[0]).toMatch(/^[^\n]+\n$/);
  });

  test('contains at most 100 values per metric', () => {
    const outcomes = Array.from({ length: 150 }, proven);
    metrics.writeNodeMetrics(outcomes, new Map(outcomes.map(({ node }) => [nodeKey(node), new Date()])));
    const [counts, ...rest] = entries();
    expect(counts).toMatchObject({ NodesProven: 150 });
    const sizes = rest.map((one) => (one as { SecondsToProven: number[] }).SecondsToProven.length);
    expect(sizes).toEqual([100, 50]);
  });

  test('is not written if there are no values', () => {
    metrics.writeNodeMetrics([{ node: ref(), kind: 'pending', reason: '', retryAfterSeconds: 1 }]);
    metrics.writeApiMetrics();
    expect(written).toEqual([]);
  });
});

test('the alarms and the dashboard together use exactly the metrics that the functions write', async () => {
  for (const [, write] of writers) await write();
  const names = entries().flatMap((one) =>
    (
      one as { _aws: { CloudWatchMetrics: { Metrics: { Name: string }[] }[] } }
    )._aws.CloudWatchMetrics.flatMap(({ Metrics }) => Metrics.map(({ Name }) => Name)),
  );
  const settings = settingsWith();
  const watched = JSON.stringify(alarmResources(settings)).matchAll(/"peermasq","MetricName":"(\w+)"/g);
  const { DashboardBody } = dashboardResources(settings)['Dashboard']?.Properties as {
    DashboardBody: { 'Fn::Sub': string };
  };
  const drawn = DashboardBody['Fn::Sub'].matchAll(
    /"peermasq","(\w+)"|MetricName=\\"(\w+)\\"|MetricName=\\\\"(\w+)/g,
  );
  const known = [...watched, ...drawn].map(([, ...groups]) => groups.find(Boolean));
  expect(new Set(known)).toEqual(new Set(names));
});
