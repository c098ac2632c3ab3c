/** The parts of CloudFormation that this folder uses. */

export interface Resource {
  readonly Type: string;
  readonly Properties: Readonly<Record<string, unknown>>;
}

export type Resources = Readonly<Record<string, Resource>>;

export interface Statement {
  readonly Sid?: string;
  readonly Effect: 'Allow';
  readonly Principal?: unknown;
  readonly Action: readonly string[];
  readonly Resource: unknown;
  readonly Condition?: unknown;
}

/** Returns text in which `${…}` refers to a parameter, a pseudo parameter or an attribute of a resource. */
export const sub = (text: string) => ({ 'Fn::Sub': text });
export const ref = (id: string) => ({ Ref: id });
export const arnOf = (id: string) => ({ 'Fn::GetAtt': [id, 'Arn'] });

export const account = ref('AWS::AccountId');
export const region = ref('AWS::Region');

/** Returns an ARN in the stack's own partition, region and account. */
export const ownArn = (service: string, resource: string) =>
  sub(`arn:\${AWS::Partition}:${service}:\${AWS::Region}:\${AWS::AccountId}:${resource}`);

export const policy = (statements: readonly Statement[]) => ({
  Version: '2012-10-17',
  Statement: statements,
});

/** Returns the policy that defines who may assume a role. */
export const trust = (principal: unknown, condition?: unknown) => ({
  Version: '2012-10-17',
  Statement: [
    {
      Effect: 'Allow',
      Principal: principal,
      Action: ['sts:AssumeRole'],
      ...(condition !== undefined && { Condition: condition }),
    },
  ],
});

/** Converts `node-joined` to `NodeJoined`, because logical IDs may contain only letters and digits. */
export function logicalId(name: string): string {
  return name.replaceAll(/(?:^|-)([a-z0-9])/g, (_, first: string) => first.toUpperCase());
}
