import { describe, expect, test } from '@jest/globals';
import { parseCidr } from '../../../shared/core/model/cidr';
import { PermanentError, RetryableError } from '../../../shared/core/model/errors';
import { parseRuleSet, printRuleSet, ruleSetId } from '../../../shared/core/model/rule-set';
import { originalStartupScript } from '../../../shared/gcp/deliver/startup-script';
import { addVm, callsOf, metadataOf, type LabVm } from '../../lab/gcp/state';
import { CloudLab, gke, inSeconds, program, refOf, ruleSet } from '../cloud-lab';

const lab = new CloudLab();

describe('a push to a node', () => {
  test('writes the rule set, the node program and the startup script, and keeps all other metadata', async () => {
    const theirs = '#!/usr/bin/env python3\nprint("hello")';
    const vm = addVm(lab.state, {
      status: 'STAGING',
      metadata: [
        { key: 'kube-env', value: 'A: b' },
        { key: 'startup-script', value: theirs },
      ],
    });
    expect((await lab.push(vm)).result).toBe('pushed');
    expect(metadataOf(vm, 'kube-env')).toBe('A: b');
    expect(metadataOf(vm, 'peermasq-ruleset')).toBe(printRuleSet(ruleSet(1)));
    expect(metadataOf(vm, 'peermasq-program')).toBe(program);
    expect(metadataOf(vm, 'enable-guest-attributes')).toBe('TRUE');
    expect(metadataOf(vm, 'startup-script')).toContain('# peermasq: startup script');
    expect(originalStartupScript(metadataOf(vm, 'startup-script'))).toBe(theirs);
  });

  test('makes no call when nothing changes, or when only the generation of the rule set changes', async () => {
    const vm = addVm(lab.state);
    await lab.push(vm);
    const before = vm.metadata;
    const node = await lab.nodeOf(vm);
    lab.state.calls.length = 0;
    await lab.cloud.channel.push({ ruleSet: ruleSet(2), routes: 1 }, [node], inSeconds(10));
    expect(lab.state.calls).toEqual([]);
    expect(vm.metadata).toBe(before);
  });

  test('never replaces a newer rule set with an older one', async () => {
    const vm = addVm(lab.state);
    await lab.push(vm, ruleSet(5));
    expect(await lab.push(vm, ruleSet(4, '10.7.0.0/16'))).toMatchObject({
      result: 'failed',
      error: { constructor: RetryableError, code: 'superseded' },
    });
    expect(metadataOf(vm, 'peermasq-ruleset')).toBe(printRuleSet(ruleSet(5)));
    expect(await lab.push(vm, ruleSet(6, '10.7.0.0/16'))).toMatchObject({ result: 'pushed' });
  });

  test('fails with clock-skew if the metadata has a rule set from the future', async () => {
    const vm = addVm(lab.state);
    await lab.push(vm, ruleSet(7_200_000));
    expect(await lab.push(vm, ruleSet(1, '10.7.0.0/16'))).toMatchObject({
      result: 'failed',
      error: { constructor: PermanentError, code: 'clock-skew' },
    });
    expect(metadataOf(vm, 'peermasq-ruleset')).toBe(printRuleSet(ruleSet(7_200_000)));
  });

  test('replaces a value that is not a rule set', async () => {
    const vm = addVm(lab.state, { metadata: [{ key: 'peermasq-ruleset', value: 'rm -rf /' }] });
    await lab.push(vm);
    expect(metadataOf(vm, 'peermasq-ruleset')).toBe(printRuleSet(ruleSet(1)));
  });

  test('packs a large rule set so that it fits into the metadata', async () => {
    const vm = addVm(lab.state);
    const destinations = Array.from({ length: 2000 }, (_, index) => ({
      cidr: parseCidr(`10.${index >> 8}.${index & 255}.0/24`),
      name: `range-${index}`,
    }));
    const large = { ...ruleSet(1), destinations };
    expect(await lab.push(vm, large)).toMatchObject({ result: 'pushed' });
    const value = metadataOf(vm, 'peermasq-ruleset') ?? '';
    expect(value).toMatch(/^H4sI/);
    expect(ruleSetId(parseRuleSet(value))).toBe(ruleSetId(large));
  });

  test('fails and writes nothing when the metadata would become too large', async () => {
    const vm = addVm(lab.state, {
      metadata: [{ key: 'startup-script', value: `#${'x'.repeat(256 * 1024 - 1)}` }],
    });
    expect(await lab.push(vm)).toMatchObject({
      result: 'failed',
      error: {
        code: 'metadata-too-large',
        message: expect.stringMatching(
          /^Metadata startup-script would be \d+ bytes long; Compute Engine's limit is 262144 bytes$/,
        ) as unknown,
      },
    });
    expect(vm.metadata).toHaveLength(1);
  });

  test('leaves guest attributes disabled if a user disabled them', async () => {
    const vm = addVm(lab.state, { metadata: [{ key: 'enable-guest-attributes', value: 'FALSE' }] });
    await lab.push(vm);
    expect(metadataOf(vm, 'enable-guest-attributes')).toBe('FALSE');
  });

  test('reports an instance that is not ready, and an instance that was deleted', async () => {
    const early = addVm(lab.state, { isReady: false });
    const deleted = addVm(lab.state);
    const nodes = [await lab.nodeOf(early), await lab.nodeOf(deleted)];
    lab.state.vms = [early];
    const results = await lab.cloud.channel.push({ ruleSet: ruleSet(1), routes: 1 }, nodes, inSeconds(1));
    expect(results).toMatchObject([
      { result: 'not-ready', retryAfterSeconds: 5 },
      { result: 'failed', error: { code: 'not-found' } },
    ]);
  });

  test("does not wait for its setMetadata operation, and reports the operation's error if the node sends no report", async () => {
    lab.state.operationError = { code: 'INVALID_USAGE', message: 'The metadata is not valid.' };
    const pushed = await lab.pushed(addVm(lab.state));
    expect(lab.state.calls.filter((call) => call.startsWith('compute.zoneOperations'))).toEqual([]);
    expect(await lab.collectProofs([pushed], 1)).toMatchObject([
      { result: 'failed', error: { constructor: PermanentError, code: 'operation-failed' } },
    ]);
  });

  test('keeps the changes of 49 concurrent writers, and leaves the newest rule set in the metadata', async () => {
    const vm = addVm(lab.state);
    const node = await lab.nodeOf(vm);
    const keys = Array.from({ length: 45 }, (_, index) => `key-${index}`);
    const ruleSets = [1, 2, 3, 4, 5].map((generation) => ruleSet(generation, `10.${generation}.0.0/16`));
    const pushes = ruleSets.map((given) =>
      lab.cloud.channel.push({ ruleSet: given, routes: 1 }, [node], inSeconds(20)),
    );
    const writes = keys.map((key) => writeKeyAsOthersDo(vm, key));
    const [results] = await Promise.all([Promise.all(pushes), ...writes]);

    for (const result of results.flat()) {
      if (result.result !== 'pushed') expect(result).toMatchObject({ error: { code: 'superseded' } });
    }
    expect(results.at(-1)).toMatchObject([{ result: 'pushed' }]);
    expect(metadataOf(vm, 'peermasq-ruleset')).toBe(printRuleSet(ruleSet(5, '10.5.0.0/16')));
    expect(vm.metadata.map(({ key }) => key).toSorted()).toEqual(
      [
        ...keys,
        'enable-guest-attributes',
        'peermasq-program',
        'peermasq-routes',
        'peermasq-ruleset',
        'startup-script',
      ].toSorted(),
    );
  }, 60_000);
});

/** Reads, changes and writes the metadata, and retries immediately after a conflict. */
async function writeKeyAsOthersDo(vm: LabVm, key: string): Promise<void> {
  const url = `${lab.endpoint}/compute/v1/projects/${vm.project}/zones/${vm.zone}/instances/${vm.id}`;
  const headers = { authorization: `Bearer ${lab.state.token}`, 'content-type': 'application/json' };
  for (;;) {
    const { metadata } = (await (await fetch(url, { headers })).json()) as { metadata: { items: object[] } };
    const body = JSON.stringify({ ...metadata, items: [...metadata.items, { key, value: key }] });
    const response = await fetch(`${url}/setMetadata`, { method: 'POST', headers, body });
    await response.text();
    if (response.ok) return;
    expect(response.status).toBe(412);
  }
}

describe('an API error during a push', () => {
  test.each(['quota', 'unavailable', 'reset'] as const)(
    'is retried if it is temporary (%s)',
    async (kind) => {
      const vm = addVm(lab.state, gke('blue'));
      lab.state.injectedErrors.push(
        { method: 'compute.instances.get', kind, times: 2 },
        { method: 'compute.instances.setMetadata', kind, times: 2 },
      );
      expect((await lab.push(vm)).result).toBe('pushed');
      expect(metadataOf(vm, 'peermasq-ruleset')).toBe(printRuleSet(ruleSet(1)));
    },
  );

  test('is retryable after the last attempt if it persists', async () => {
    const vm = addVm(lab.state);
    lab.state.injectedErrors.push({ method: 'compute.instances.get', kind: 'quota', times: 100 });
    const deadline = inSeconds(15);
    await expect(lab.cloud.nodes.get([refOf(vm)], deadline)).rejects.toMatchObject({
      constructor: RetryableError,
      code: 'throttled',
    });
    expect(callsOf(lab.state, 'compute.instances.get')).toBe(5);
    expect(Date.now()).toBeLessThan(deadline);
  });

  test('is retryable if the API does not respond, and the call ends by its deadline', async () => {
    const vm = addVm(lab.state);
    lab.state.injectedErrors.push({ method: 'compute.instances.get', kind: 'no-response', times: 100 });
    const deadline = inSeconds(1);
    await expect(lab.cloud.nodes.get([refOf(vm)], deadline)).rejects.toBeInstanceOf(RetryableError);
    // Without a deadline, a call may take 30 s.
    expect(Date.now()).toBeLessThan(deadline + 10_000);
  });

  test('is permanent if a permission is missing: it names the permission and is not retried', async () => {
    const vm = addVm(lab.state);
    lab.state.injectedErrors.push({
      method: 'compute.instances.setMetadata',
      kind: 'permission',
      times: 100,
    });
    expect(await lab.push(vm)).toMatchObject({
      result: 'failed',
      error: {
        constructor: PermanentError,
        code: 'permission-denied',
        advice: expect.stringContaining(
          'Grant compute.instances.setMetadata on projects/identity-nonprod/',
        ) as unknown,
      },
    });
    expect(callsOf(lab.state, 'compute.instances.setMetadata')).toBe(1);
  });

  test('is permanent if the token is rejected', async () => {
    const vm = addVm(lab.state);
    const { token } = lab.state;
    lab.state.token = 'another';
    await expect(lab.cloud.nodes.get([refOf(vm)], inSeconds(5))).rejects.toMatchObject({
      code: 'no-credentials',
    });
    lab.state.token = token;
  });
});
