import { afterEach, beforeEach } from '@jest/globals';
import { makeDocument } from '../../../infra/aws/document';
import type { AwsNode } from '../../../shared/aws/discover/nodes';
import { parseCidr } from '../../../shared/core/model/cidr';
import type { AwsNodeRef } from '../../../shared/core/model/node';
import type { ProofResult, PushedNode, PushResult } from '../../../shared/core/cloud';
import type { Report } from '../../../shared/core/model/report';
import type { RuleSet } from '../../../shared/core/model/rule-set';
import { labAccount, labRegion } from '../../lab/aws/cloud';
import type { CommandResult, Machine } from '../../lab/machine';
import { makeReport } from '../../lab/node-report';
import { soon, startCloud, subnetId, vpcId } from '../cloud';

/** Every test in a file that imports this module gets its own local AWS, with a network and the SSM document. */
export let lab: Awaited<ReturnType<typeof startCloud>>;

let finishAll: () => void = () => undefined;

beforeEach(async () => {
  lab = await startCloud();
  lab.aws.addNetwork({ vpcId, cidrs: ['172.20.0.0/16'], subnetIds: [subnetId] });
  lab.aws.putDocument('peermasq-apply-test', makeDocument('echo hello\n'));
});

afterEach(() => {
  finishAll();
  return lab.close();
});

export const ruleSet: RuleSet = {
  generation: 1_795_295_818_468,
  randomFully: false,
  sources: [parseCidr('100.96.0.0/11')],
  exemptions: [],
  destinations: [{ cidr: parseCidr('10.0.0.0/16'), name: 'production' }],
  probes: [],
};
export const otherRuleSet: RuleSet = { ...ruleSet, destinations: [] };

export const report = (changes: Partial<Report> = {}): Report =>
  makeReport(ruleSet, { rules: 2, ...changes });

/** A node on which the program finishes with this result. */
export const finishing = (result: Partial<CommandResult>): Machine => ({
  run: () => Promise.resolve({ status: 0, stdout: '', stderr: '', ...result }),
});

export const reporting = (changes?: Partial<Report>, status = 0): Machine =>
  finishing({ status, stdout: `${JSON.stringify(report(changes))}\n`, stderr: 'peermasq: working\n' });

/** A node on which the program runs until the end of the test. */
export const neverFinishing: Machine = {
  run: () =>
    new Promise((resolve) => {
      finishAll = () => {
        resolve({ status: 0, stdout: '', stderr: '' });
      };
    }),
};

export const refOf = (id: string): AwsNodeRef => ({
  cloud: 'aws',
  account: labAccount,
  region: labRegion,
  id,
});

export function addNodes(count: number, machine: Machine = reporting()): Promise<AwsNode[]> {
  const ids = Array.from({ length: count }, () => lab.aws.addNode({ subnetId, machine }));
  return lab.cloud.nodes.get(ids.map(refOf), soon());
}

/** Looks up the current state of the nodes. */
export const refresh = (nodes: readonly AwsNode[]): Promise<AwsNode[]> =>
  lab.cloud.nodes.get(
    nodes.map(({ ref }) => ref),
    soon(),
  );

export const push = (nodes: readonly AwsNode[], pushedRuleSet = ruleSet) =>
  lab.cloud.channel.push({ ruleSet: pushedRuleSet, routes: 3 }, nodes, soon());

export const idsOf = (nodes: readonly AwsNode[]): string[] => nodes.map(({ ref }) => ref.id);

/** The results of a push, by instance ID. */
export const resultsById = (results: readonly (PushResult | ProofResult)[]) =>
  Object.fromEntries(results.map(({ node, result }) => [node.ref.id, result]));

export const isPushed = (result: PushResult<AwsNode>): result is PushedNode<AwsNode> =>
  result.result === 'pushed';

/** Fills all 50 tags that an instance may have. */
export function fillTags({ ref }: AwsNode): void {
  const tags = lab.aws.state.instances.get(ref.id)?.tags;
  for (let i = tags?.size ?? 0; i < 50; i++) tags?.set(`key-${i}`, '');
}
