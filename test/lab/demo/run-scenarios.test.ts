import { expect, test } from '@jest/globals';
import pc from 'picocolors';
import { describeKernel } from '../kernel';
import type { Networks } from '../networks';
import { gcpPeering } from '../topologies';
import { runScenarios, toDocument } from './run-scenarios';
import type { NodeResult, Race, Scenario } from './scenario';
import { openScreen } from './screen';

async function fix({ node }: Networks): Promise<void> {
  await node.run(['iptables', '-t', 'nat', '-I', 'POSTROUTING', '-d', '10.193.0.0/16', '-j', 'MASQUERADE']);
  await node.run(['conntrack', '-D', '-d', '10.193.0.3']);
}
const nodeResult: NodeResult = {
  eventToProvenMs: 7,
  ruleset: 'abc',
  rules: ['-A PEERMASQ …'],
  discovery: ['peering b-to-a'],
  proof: {
    ...{ result: 'applied', proven: true, id: null, generation: 1, backend: 'iptables-nft', rules: 1 },
    ...{ flushed: 0, persisted: 'no', warnings: ['no conntrack'] },
    probes: [{ to: '10.193.0.3:32191', from: '10.132.0.1', reached: true }],
  },
};

const scenario = (
  sendEvent: (networks: Networks, times: number) => Promise<unknown>,
  outcome = nodeResult,
): Scenario => ({
  ...{ name: 'one', cloud: 'gcp', title: 'One', story: 'A story.', topology: gcpPeering },
  open: (networks) => {
    let times = 0;
    return Promise.resolve({
      node: 'node-1',
      peermasq: answers,
      sendEvent: async () => {
        await sendEvent(networks, ++times);
        return outcome;
      },
      close: () => Promise.resolve(),
    });
  },
});

/** Returns the output that the command line prints for a healthy node. */
const answers = ([command]: readonly string[]) => {
  const checks = [{ name: 'proof', state: 'ok' }];
  const stdout =
    command === 'doctor'
      ? JSON.stringify({ checks, broken: null, verdict: 'No problems found.' })
      : 'No changes';
  return Promise.resolve({ status: 0, stdout, stderr: '' });
};

async function runAll(...scenarios: Scenario[]) {
  const written: string[] = [];
  const results = await runScenarios(
    scenarios,
    (text) => written.push(text),
    (write) => openScreen(write, pc.createColors(false)),
  );
  return { results, errors: results.map(({ errors }) => errors), text: written.join('') };
}

describeKernel('a demo scenario', undefined, () => {
  test('without errors prints each step, and its result in the JSON document for --json', async () => {
    const once = scenario((networks, times) => (times === 1 ? fix(networks) : Promise.resolve()));
    const { results, errors, text } = await runAll(once);
    expect(errors).toEqual([[]]);
    expect(text).toMatch(
      /before .* 10\.132\.0\.10 ──▶ vpc-b ✗ dropped\n +10\.193\.0\.3:32191: no connection in 1500 ms/,
    );
    expect(text).toMatch(/the router dropped [1-9] packets? from\s+10\.132\.0\.10/);
    expect(text).toContain('the hanging request is answered too');
    expect(text).toMatch(
      /applied, proven 7 ms after the event: 1 rule in iptables-nft, 0 stale connections\s+flushed/,
    );
    expect(text).toContain('probe 10.132.0.1 → 10.193.0.3:32191: reached');
    expect(text).toMatch(
      /after .* 10\.209\.0\.2 ───▶ vpc-b ──▶ vpc-a ──▶ backend ✓\n +<h1>Hello Kubernetes!/,
    );
    expect(toDocument(results)).toEqual({
      scenarios: [
        {
          name: 'one',
          cloud: 'gcp',
          before: { reached: false },
          after: { reached: true, body: '<h1>Hello Kubernetes!</h1>', sourceSeenByPeer: '10.209.0.2' },
          eventToProvenMs: 7,
          ruleset: 'abc',
          rules: ['-A PEERMASQ …'],
        },
      ],
    });
  });

  test('with a boot race shows whether the race was won', async () => {
    const raced = (race: Race) => runAll(scenario((networks) => fix(networks), { ...nodeResult, race }));
    const [won, lost] = await Promise.all([
      raced({ metadataSetMs: 2_240, scriptRanMs: 5_000 }),
      raced({ metadataSetMs: 9_000, scriptRanMs: 5_000 }),
    ]);
    expect(won.text).toMatch(/race is won: metadata set 2\.2 s after [^]*script run 5\.0 s/);
    expect(lost.text).toContain('race is lost');
    expect(toDocument(won.results).scenarios[0]).toMatchObject({
      race: { metadataSetMs: 2_240, scriptRanMs: 5_000 },
    });
  });

  test('with a lost race shows that the request still hangs before the fix', async () => {
    const late: Scenario = {
      ...scenario(fix),
      open: (networks) =>
        Promise.resolve({
          node: 'node-1',
          peermasq: answers,
          sendLateEvent: () => Promise.resolve('it must be restarted'),
          sendEvent: async () => {
            await networks.resetNode();
            await fix(networks);
            return nodeResult;
          },
          close: () => Promise.resolve(),
        }),
    };
    const { results, errors, text } = await runAll(late);
    expect(errors).toEqual([[]]);
    expect(text).toMatch(/too late +it must be restarted\n +the pod still does not reach the peer/);
    expect(toDocument(results).scenarios[0]).toMatchObject({
      late: { reason: 'it must be restarted', reached: false },
      after: { reached: true },
    });
  });

  test('that fails prints its error, and the next scenario still runs', async () => {
    const [failure, rest] = await Promise.all([
      runAll(scenario(() => Promise.reject(new Error('the cloud said no')))),
      runAll(
        scenario(() => Promise.resolve()),
        scenario(fix),
      ),
    ]);
    expect(failure.errors).toEqual([['the cloud said no']]);
    expect(toDocument(failure.results).scenarios[0]).toMatchObject({
      after: { reached: false },
      eventToProvenMs: null,
    });
    expect(rest.errors).toEqual([
      ['the pod still does not reach 10.193.0.3:32191: no connection in 1500 ms'],
      ['running it again changed the output of iptables-save'],
    ]);
  });
});
