import { gunzipSync } from 'node:zlib';
import { beforeAll, describe, expect, test } from '@jest/globals';
import {
  identityPermissions,
  networkPermissions,
  nodePermissions,
  restartPermissions,
  roleOf,
} from '../../../shared/gcp/client/permissions';
import { instanceInsertMethods } from '../../../shared/gcp/events/instance-inserted';
import { routeChangeMethods } from '../../../shared/gcp/events/routes-changed';
import { applyTerraform, hasTerraform, skipReason, type AppliedResource } from './terraform-apply';

/** Returns the first block with the given name in a resource, at any depth. */
function inside({ arguments: body }: AppliedResource, ...path: readonly string[]): Record<string, unknown> {
  return path.reduce((outer, name) => (outer[name] as Record<string, unknown>[])[0] ?? {}, body);
}

const of = (applied: readonly AppliedResource[], type: string): AppliedResource[] =>
  applied.filter((one) => one.type === `google_${type}`);

const examples = {
  'one-project': { project: 'identity-nonprod', alarm_email: 'ops@example.com', seed: true },
  'shared-vpc-host': { project: 'identity-nonprod', host_project: 'network-host' },
  'organisation-sink': {
    project: 'operations',
    organisation: '123456789012',
    node_projects: ['identity-nonprod', 'identity-prod'],
    network_projects: ['network-host', 'identity-prod'],
  },
};

const minutes = 60_000;

const deployed = new Map<string, readonly AppliedResource[]>();

(hasTerraform ? describe : describe.skip)(`what infra/gcp deploys${skipReason}`, () => {
  beforeAll(async () => {
    const deploy = async (name: string, folder: string, variables: Readonly<Record<string, unknown>>) =>
      deployed.set(name, await applyTerraform(folder, variables));
    await Promise.all([
      ...Object.entries(examples).map(([name, variables]) =>
        deploy(name, `infra/gcp/examples/${name}`, variables),
      ),
      deploy('everything', 'infra/gcp', everything),
    ]);
  }, 2 * minutes);

  const everything = {
    project: 'identity-nonprod',
    region: 'europe-west1',
    stage: 'dev',
    node_projects: ['identity-nonprod', 'identity-prod'],
    node_service_accounts: ['nodes@identity-nonprod.iam.gserviceaccount.com'],
    allow_restart: true,
    sweep_minutes: 60,
    backfill_seconds: 3600,
    max_instances: 3,
    invokers: ['group:sre@example.com'],
    notification_channels: ['projects/identity-nonprod/notificationChannels/1'],
    runbook: 'https://example.com/runbook',
    enable_apis: false,
    labels: { team: 'sre' },
  };
  const all = [...Object.keys(examples), 'everything'];
  const resources = (example: string): readonly AppliedResource[] => deployed.get(example) ?? [];

  describe.each(all)('%s', (example) => {
    test('has three functions, each with its own service account and timeout', () => {
      const functions = of(resources(example), 'cloudfunctions2_function');
      expect(functions.map(({ key }) => key)).toEqual(['backfill', 'node-joined', 'peering-changed']);
      const accounts = functions.map((one) => inside(one, 'service_config')['service_account_email']);
      expect(new Set(accounts).size).toBe(3);
      for (const one of functions) {
        const config = inside(one, 'service_config');
        const variables = config['environment_variables'] as Record<string, unknown>;
        expect(variables['PEERMASQ_INVOCATION_SECONDS']).toBe(config['timeout_seconds']);
        expect(inside(one, 'build_config')['runtime']).toBe('nodejs24');
        // This is the maximum for a function with a trigger, because Pub/Sub redelivers events after 600 seconds.
        if (one.key !== 'backfill') expect(Number(config['timeout_seconds'])).toBeLessThanOrEqual(540);
      }
    });

    test("lets only the functions' triggers, the schedule and the named members call the functions", () => {
      const callers = of(resources(example), 'cloud_run_v2_service_iam_member').map(({ arguments: body }) => [
        String(body['name']).split(':')[2],
        body['role'],
        body['member'],
      ]);
      const invoker = 'roles/run.invoker';
      expect(callers).toEqual([
        ...(example === 'everything' ? [['backfill', invoker, 'group:sre@example.com']] : []),
        ['backfill', invoker, 'google_service_account:sweep:only:member'],
        ['node-joined', invoker, 'google_service_account:events:only:member'],
        ['peering-changed', invoker, 'google_service_account:events:only:member'],
      ]);
      const ingress = of(resources(example), 'cloudfunctions2_function').map(
        (one) => inside(one, 'service_config')['ingress_settings'],
      );
      const inner = 'ALLOW_INTERNAL_ONLY';
      expect(ingress).toEqual([example === 'everything' ? 'ALLOW_ALL' : inner, inner, inner]);
    });

    test('grants exactly the permissions that are listed in shared/gcp, through custom roles', () => {
      const roles = of(resources(example), 'project_iam_custom_role');
      const table = {
        nodes: nodePermissions,
        networks: networkPermissions,
        node_identity: identityPermissions,
        restart: restartPermissions,
      };
      for (const { key, arguments: body } of roles) {
        expect(body['permissions']).toEqual(table[key as keyof typeof table]);
        for (const permission of body['permissions'] as string[]) expect(roleOf(permission)).toBe(key);
      }
      const members = of(resources(example), 'project_iam_member').filter(({ module }) =>
        /grants|host|projects/.test(module),
      );
      for (const { arguments: body } of members)
        expect(body['role']).toMatch(/^google_project_iam_custom_role:/);
    });

    test('allows only the backfill function to restart nodes, and only if restarts are enabled', () => {
      const restarting = of(resources(example), 'project_iam_member').filter(({ key }) =>
        String(key).startsWith('restart'),
      );
      expect(restarting.map(({ key }) => key)).toEqual(example === 'everything' ? ['restart backfill'] : []);
    });

    test('redelivers events until they are acknowledged, with an authorised service account', () => {
      const triggers = of(resources(example), 'cloudfunctions2_function').map(
        ({ key, arguments: body }) => [key, body['event_trigger']] as const,
      );
      const trigger = (kind: string) => [
        {
          event_type: 'google.cloud.pubsub.topic.v1.messagePublished',
          pubsub_topic: `google_pubsub_topic:events:${kind}:id`,
          trigger_region: 'europe-west1',
          service_account_email: 'google_service_account:events:only:email',
          retry_policy: 'RETRY_POLICY_RETRY',
        },
      ];
      expect(triggers).toEqual([
        ['backfill', []],
        ['node-joined', trigger('nodes')],
        ['peering-changed', trigger('routes')],
      ]);
      const receivers = of(resources(example), 'project_iam_member').filter(
        ({ arguments: body }) => body['role'] === 'roles/eventarc.eventReceiver',
      );
      expect(receivers.map(({ arguments: body }) => body['member'])).toEqual([
        'google_service_account:events:only:member',
      ]);
    });

    test('runs sweeps with the authorised service account and the audience that Cloud Run expects', () => {
      const [job] = of(resources(example), 'cloud_scheduler_job');
      const target = job && inside(job, 'http_target');
      const uri = 'google_cloudfunctions2_function:this:backfill:service_config.uri';
      expect(target).toMatchObject({
        uri,
        http_method: 'POST',
        headers: { 'Content-Type': 'application/json' },
      });
      expect(JSON.parse(Buffer.from(String(target?.['body']), 'base64').toString())).toEqual({
        skipNewNodes: true,
      });
      expect(job && inside(job, 'http_target', 'oidc_token')).toEqual({
        audience: uri,
        service_account_email: 'google_service_account:sweep:only:email',
      });
    });

    test('has alerts on existing metrics, each with instructions and a link to the runbook', () => {
      const metrics = of(resources(example), 'logging_metric').map(({ arguments: body }) =>
        String(body['name']),
      );
      const policies = of(resources(example), 'monitoring_alert_policy');
      expect(policies).toHaveLength(10);
      for (const one of policies) {
        const name = String(one.arguments['display_name']).split(' ')[1] ?? '';
        const text = String(inside(one, 'documentation')['content']);
        const runbook = example === 'everything' ? 'https://example.com/runbook' : 'docs/runbook.md';
        expect(text).toMatch(/^[A-Z].{40,500}\.\n\n\S+$/s);
        expect(text.split('\n\n')[1]).toBe(`${runbook}#gcp-${name}`);
        const [, metric] = /user\/([\w/-]+)/.exec(JSON.stringify(one.arguments['conditions'])) ?? [];
        expect(metrics).toContain(metric);
      }
    });

    test('has a dashboard that shows only existing metrics', () => {
      const [dashboard] = of(resources(example), 'monitoring_dashboard');
      const text = String(dashboard?.arguments['dashboard_json']);
      expect(JSON.parse(text)).toHaveProperty('mosaicLayout.tiles');
      const metrics = of(resources(example), 'logging_metric').map(({ arguments: body }) =>
        String(body['name']),
      );
      const drawn = [...text.matchAll(/googleapis\.com\/user\/([\w/-]+)/g)].map(([, name]) => name);
      expect(metrics).toEqual(expect.arrayContaining(drawn));
      const summed = [...text.matchAll(/:user_(\w+?)_sum/g)].map(([, name]) => name);
      expect(metrics.map((name) => name.replaceAll(/[/-]/g, '_'))).toEqual(expect.arrayContaining(summed));
    });
  });

  const sinksOf = (example: string) =>
    resources(example).filter(({ type }) => /^google_logging_\w+_sink$/.test(type));

  test.each([
    ['one-project', ['identity-nonprod nodes', 'identity-nonprod routes']],
    ['shared-vpc-host', ['identity-nonprod nodes', 'network-host routes']],
    ['organisation-sink', ['123456789012 nodes', '123456789012 routes']],
  ])('%s has one sink for each kind of event, and each sink may write to its topic', (example, owners) => {
    const sinks = sinksOf(example);
    const owner = ({ arguments: body }: AppliedResource) => String(body['project'] ?? body['org_id']);
    expect(sinks.map((sink) => `${owner(sink)} ${String(sink.key)}`).sort()).toEqual(owners);
    for (const { type, key, module, arguments: body } of sinks) {
      const topic = `google_pubsub_topic:events:${String(key)}:id`;
      expect(body['destination']).toBe(`pubsub.googleapis.com/${topic}`);
      const writers = of(resources(example), 'pubsub_topic_iam_member').filter(
        (one) => one.key === key && one.module === module,
      );
      expect(writers.map((one) => one.arguments)).toEqual([
        {
          topic,
          role: 'roles/pubsub.publisher',
          member: `${type}:this:${String(key)}:writer_identity`,
        },
      ]);
    }
  });

  describe('the filter of the sink', () => {
    const filterOf = (kind: string) =>
      String(sinksOf('one-project').find(({ key }) => key === kind)?.arguments['filter']);

    test.each([
      ['nodes', []],
      ['routes', ['(operation.last=true OR NOT operation.first=true)']],
    ])('for %s selects successful Compute Engine calls', (kind, more) => {
      const [log, service, method, ...rest] = filterOf(kind).split(' AND ');
      expect([log, service]).toEqual([
        'log_id("cloudaudit.googleapis.com/activity")',
        'protoPayload.serviceName="compute.googleapis.com"',
      ]);
      expect(method).toMatch(/^protoPayload\.methodName=~".*"$/);
      expect(rest).toEqual(['severity<ERROR', ...more]);
    });

    test.each([
      ['nodes', instanceInsertMethods, routeChangeMethods],
      ['routes', routeChangeMethods, instanceInsertMethods],
    ])('for %s selects only the methods for that kind of event, in any API version', (kind, own, others) => {
      const pattern = new RegExp(/=~"([^"]*)"/.exec(filterOf(kind))?.[1] ?? '(?!)');
      const isExported = (method: string) => pattern.test(method);
      for (const version of ['', 'v1.', 'beta.', 'alpha.']) {
        const named = (methods: readonly string[]) => methods.map((one) => `${version}compute.${one}`);
        expect(named(own).filter(isExported)).toEqual(named(own));
        expect(
          named([...others, 'instances.insertX', 'Xroutes.insert', 'routesXinsert']).filter(isExported),
        ).toEqual([]);
      }
      expect(isExported(`v2.compute.${String(own[0])}`)).toBe(false);
    });
  });

  test('each project grants only the permissions that its own resources need', () => {
    const granted = (example: string) =>
      of(resources(example), 'project_iam_custom_role')
        .map(({ key, arguments: body }) => `${String(body['project'])} ${String(key)}`)
        .sort();
    const nodes = (project: string) => [`${project} node_identity`, `${project} nodes`];
    expect(granted('one-project')).toEqual(['identity-nonprod networks', ...nodes('identity-nonprod')]);
    expect(granted('shared-vpc-host')).toEqual([...nodes('identity-nonprod'), 'network-host networks']);
    expect(granted('organisation-sink')).toEqual([
      ...nodes('identity-nonprod'),
      'identity-prod networks',
      ...nodes('identity-prod'),
      'network-host networks',
    ]);
  });

  test("seeding writes the startup script and the program to the project's metadata, and enables reports", () => {
    const seededMetadata = (example: string) =>
      Object.fromEntries(
        of(resources(example), 'compute_project_metadata_item').map(
          ({ arguments: body }) => [body['key'], body['value']] as const,
        ),
      ) as Record<string, string>;
    const { 'peermasq-program': program = '', ...others } = seededMetadata('one-project');
    expect(others).toEqual({ 'enable-guest-attributes': 'TRUE', 'startup-script': '# the startup script\n' });
    expect(program).toMatch(/^H4sI/);
    expect(gunzipSync(Buffer.from(program, 'base64')).toString()).toBe('# the node program\n');
    expect(seededMetadata('everything')).toEqual({});
  });

  test(
    'an invalid variable is rejected, and the error lists the valid values',
    async () => {
      const invalidVariables = {
        project: '415104041262',
        region: 'europe-west1-b',
        stage: 'production-of-all',
        node_projects: ['Identity'],
        node_service_accounts: ['sre@example.com'],
        sweep_minutes: 7,
        backfill_seconds: 4000,
        max_instances: 0,
        invokers: ['allUsers'],
        alarm_email: 'not-an-address',
        notification_channels: ['ops'],
      };
      const refusal = await applyTerraform('infra/gcp', invalidVariables).then(
        () => '',
        (error: unknown) => String((error as { stderr?: unknown }).stderr),
      );
      const refused = [...refusal.matchAll(/│ var\.(\w+) is /g)].map(([, name]) => name);
      expect([...new Set(refused)].sort()).toEqual(Object.keys(invalidVariables).sort());
      expect(refusal.replace(/\s+/g, ' ')).toContain('The function cannot be public.');
    },
    minutes,
  );
});
