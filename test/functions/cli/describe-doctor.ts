import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { resolveDestination, resolveSource } from '../../../functions/cli/connection';
import { gatherFindings } from '../../../functions/cli/gather-findings';
import type { TargetOptions } from '../../../functions/cli/targets';
import { diagnose } from '../../../shared/core/doctor/diagnose';
import type { Diagnosis } from '../../../shared/core/doctor/findings';
import type { CheckName } from '../../../shared/core/doctor/check';
import { describeKernel } from '../../lab/kernel';
import type { CliResult } from '../../lab/cli-home';
import type { Networks } from '../../lab/networks';
import { nodeProgramFile } from '../../lab/node-program';

/** A local cloud whose networks are real network namespaces. Its node is running, but has no peermasq rules yet. */
export interface DoctorLab {
  readonly networks: Networks;
  /** The options that select this cloud on the command line. */
  readonly options: TargetOptions;
  /** The ID of the node. */
  readonly node: string;
  /** Runs a backfill, which pushes the rule set to the node. */
  readonly fix: () => Promise<void>;
  /** Runs the command line from dist/ with the credentials and the config of this cloud. */
  readonly peermasq: (args: readonly string[]) => Promise<CliResult>;
  /**
   * Writes a config file.
   * @returns the path of the file
   */
  readonly writeConfig: (text: string) => string;
  readonly close: () => Promise<void>;
}

/** A misconfiguration in the cloud, outside the node. `breakIt` returns a function that undoes the change. */
export interface CloudBreak<Lab> {
  readonly title: string;
  readonly breakIt: (lab: Lab) => () => void;
  readonly check: CheckName;
  /** A part of the expected fix. */
  readonly fix: string;
}

export interface DoctorRequest {
  /** The destination. Defaults to the peer in the topology. */
  readonly to?: string;
  /** The entries of `masquerade` in a config for every cluster, which is used instead of the lab's config. */
  readonly masquerade?: string;
}

/** The functions that cloud-specific tests use. */
export interface DoctorFixture<Lab extends DoctorLab> {
  /** Returns the lab. Call it only inside a test, because the lab is opened before the first test runs. */
  readonly lab: () => Lab;
  /**
   * Runs doctor.
   * @param from the source, by default the pod in the topology
   */
  readonly doctor: (from?: string, request?: DoctorRequest) => Promise<Diagnosis>;
  /** Returns whether a request from the pod reaches the peer. */
  readonly isReached: () => Promise<boolean>;
  /** Runs the fix command that doctor printed. Fails unless the pod then reaches the peer. */
  readonly applyFix: (fix: string | undefined) => Promise<void>;
}

export interface DoctorSpec<Lab extends DoctorLab> {
  readonly open: () => Promise<Lab>;
  readonly cloudBreaks: readonly CloudBreak<Lab>[];
  readonly describeMore: (fixture: DoctorFixture<Lab>) => void;
}

/**
 * Defines tests in which doctor must find the broken check for each misconfiguration. Both clouds share these tests.
 */
export function describeDoctor<Lab extends DoctorLab>(
  cloudName: string,
  { open, cloudBreaks, describeMore }: DoctorSpec<Lab>,
): void {
  describeKernel(`doctor on ${cloudName}`, undefined, () => {
    let lab: Lab;
    beforeAll(async () => {
      lab = await open();
    }, 60_000);
    afterAll(() => lab.close());

    async function doctor(from?: string, { to, masquerade }: DoctorRequest = {}): Promise<Diagnosis> {
      const { node, peer } = lab.networks.topology;
      const destination = await resolveDestination(to ?? `${peer.address}:${peer.port}`);
      const source = await resolveSource(from ?? node.pods.pod, lab.node);
      const options =
        masquerade === undefined
          ? lab.options
          : { ...lab.options, config: lab.writeConfig(`clusters: {"*": {masquerade: [${masquerade}]}}`) };
      return diagnose(await gatherFindings({ from: source, to: destination }, options));
    }
    const isReached = async () => (await lab.networks.pod.request(700)).reached;
    async function applyFix(fix: string | undefined): Promise<void> {
      expect(fix).toBe(`npx peermasq backfill --force --node ${lab.node}`);
      const args = (fix ?? '').replace('npx peermasq ', '').split(' ');
      expect(await lab.peermasq([...args, '--yes'])).toMatchObject({ status: 0 });
      expect(await isReached()).toBe(true);
    }

    test('after a push, no check is broken and packets reach the peer', async () => {
      expect(await isReached()).toBe(false);
      await lab.fix();
      expect(await doctor()).toMatchObject({ broken: null });
      expect(await isReached()).toBe(true);
    }, 40_000);

    test('a connection from the node itself needs no masquerading', async () => {
      const diagnosis = await doctor(lab.node);
      expect(diagnosis.broken).toBeNull();
      expect(checkNamed(diagnosis, 'masquerading')).toMatchObject({ state: 'not-needed' });
    });

    test.each(cloudBreaks)('$title: doctor reports $check as broken', async ({ breakIt, check, fix }) => {
      const restore = breakIt(lab);
      try {
        const { broken } = await doctor();
        expect(broken).toMatchObject({ name: check });
        expect(broken?.fix).toContain(fix);
        expect(broken?.evidence[0]).not.toMatch(/^(?!No ).* allows /);
      } finally {
        restore();
      }
    });

    test('the fix for a missing masquerade rule works, and no check is broken afterwards', async () => {
      await iptables(lab, '-D', 'POSTROUTING', '-m', 'comment', '--comment', 'peermasq', '-j', 'PEERMASQ');
      const { broken } = await doctor();
      expect(await isReached()).toBe(false);
      expect(broken).toMatchObject({ name: 'masquerading' });
      expect(broken?.evidence.join('\n')).toContain('skipped because the destination is inside 10.0.0.0/8');
      await applyFix(broken?.fix);
      expect(await doctor()).toMatchObject({ broken: null });
    });

    describeMore({ lab: () => lab, doctor, isReached, applyFix });
  });
}

/** Defines tests in which the node itself is changed. Such tests are the same for both clouds. */
export function describeNodeBreaks<Lab extends DoctorLab>({
  lab,
  doctor,
  isReached,
  applyFix,
}: DoctorFixture<Lab>): void {
  describe('doctor reports masquerading as broken, and the suggested fix works, for', () => {
    test('a RETURN rule before the masquerade rule', async () => {
      const { peer } = lab().networks.topology;
      await iptables(lab(), '-I', 'POSTROUTING', '-d', `${peer.address}/32`, '-j', 'RETURN');
      const diagnosis = await doctor();
      expect(await isReached()).toBe(false);
      expect(diagnosis.broken).toMatchObject({ name: 'masquerading' });
      expect(diagnosis.broken?.evidence.join('\n')).toContain(`-d ${peer.address}/32 -j RETURN`);
      expect(checkNamed(diagnosis, 'proof')?.evidence).toContain(
        'The rules on the node have drifted from the proven rule set.',
      );
      await applyFix(diagnosis.broken?.fix);
      await iptables(lab(), '-D', 'POSTROUTING', '-d', `${peer.address}/32`, '-j', 'RETURN');
    });

    test('an exemption that matches the destination', async () => {
      const { peer } = lab().networks.topology;
      await apply(lab(), [`exempt ${peer.address}/32 except`]);
      const { broken } = await doctor();
      expect(await isReached()).toBe(false);
      expect(broken).toMatchObject({ name: 'masquerading' });
      expect(broken?.evidence.join('\n')).toContain(`-d ${peer.address}/32`);
      expect(broken?.evidence.join('\n')).toContain('--comment "peermasq: except" -j RETURN');
      await applyFix(broken?.fix);
    });

    test('rules in a backend that the node does not use', async () => {
      await apply(lab(), [], { PEERMASQ_BACKEND: 'iptables-legacy' });
      const { broken } = await doctor();
      expect(broken).toMatchObject({ name: 'masquerading' });
      expect(broken?.evidence.join('\n')).toContain('iptables-legacy');
      await applyFix(broken?.fix);
    });
  });
}

export const checkNamed = ({ checks }: Diagnosis, name: CheckName) =>
  checks.find((check) => check.name === name);

export const iptables = (lab: DoctorLab, ...args: string[]) =>
  run(lab, ['iptables', '-w', '-t', 'nat', ...args]);

/** Applies a rule set whose generation is newer than that of every earlier rule set. */
async function apply(
  lab: DoctorLab,
  more: readonly string[],
  env: Record<string, string> = {},
): Promise<void> {
  const { networks, node, peer } = lab.networks.topology;
  const destination = networks.find(({ name }) => name === peer.network)?.range ?? '';
  const lines = [`source ${node.pods.range}`, ...more, `masquerade ${destination} peer`];
  const text = `peermasq/1\ngeneration ${Date.now()}\n${lines.map((line) => `${line}\n`).join('')}`;
  await run(lab, ['bash', nodeProgramFile, 'apply'], { env, stdin: text });
}

async function run(
  { networks }: DoctorLab,
  argv: readonly string[],
  options: { readonly env?: Record<string, string>; readonly stdin?: string } = {},
): Promise<void> {
  const { status, stdout, stderr } = await networks.node.run(argv, options);
  if (status !== 0) throw new Error(`${argv.join(' ')} ended with ${status}: ${stderr}${stdout}`);
}
