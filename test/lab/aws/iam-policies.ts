import type { Resources, Statement } from '../../../infra/aws/cloudformation';

/** A request to be authorised. The lab supports only the IAM features that the policies in infra/aws use. */
export interface IamRequest {
  /** The action, such as `ec2:CreateTags`. */
  readonly action: string;
  /** The ARN of the resource, or `*` for actions without resource-level permissions. */
  readonly resource: string;
  /** The condition keys of the request, with their values. */
  readonly context: Readonly<Record<string, string | readonly string[]>>;
}

/** A policy statement whose references have been resolved to ARNs and names. */
export interface ResolvedStatement {
  readonly actions: readonly string[];
  readonly resources: readonly string[];
  /** The conditions, as a map from operator and condition key to accepted values. */
  readonly conditions: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
}

export const isAllowed = (grants: readonly ResolvedStatement[], iamRequest: IamRequest): boolean =>
  grants.some(
    ({ actions, resources, conditions }) =>
      actions.includes(iamRequest.action) &&
      resources.some((pattern) => matchesArn(pattern, iamRequest.resource)) &&
      Object.entries(conditions).every(([operator, keys]) =>
        Object.entries(keys).every(([key, accepted]) =>
          conditionHolds(operator, iamRequest.context[key], [accepted].flat()),
        ),
      ),
  );

function matchesArn(pattern: string, resource: string): boolean {
  const parts = pattern.split('*').map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(resource);
}

/** https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html */
function conditionHolds(
  operator: string,
  value: string | readonly string[] | undefined,
  accepted: readonly string[],
): boolean {
  const values = value === undefined ? [] : [value].flat();
  switch (operator) {
    case 'Null':
      return String(value === undefined) === accepted[0];
    case 'StringEquals':
    case 'ArnEquals':
      return values.some((one) => accepted.includes(one));
    case 'ForAllValues:StringEquals':
      return values.every((one) => accepted.includes(one));
    default:
      throw new Error(`The lab does not support the condition operator ${operator}`);
  }
}

interface AccountRegion {
  readonly account: string;
  readonly region: string;
}

/** A role from a template. */
export interface LabRole {
  readonly roleName: string;
  /** The statements in the role's trust policy. */
  readonly trust: readonly ResolvedStatement[];
  /** The statements in the role's inline and attached policies. */
  readonly grants: readonly ResolvedStatement[];
}

interface RoleProperties {
  readonly RoleName: string;
  readonly AssumeRolePolicyDocument: PolicyDocument;
  readonly Policies: readonly { readonly PolicyDocument: PolicyDocument }[];
  readonly ManagedPolicyArns: readonly string[];
}

interface PolicyDocument {
  readonly Statement: readonly Statement[];
}

/**
 * Reads a role from a template.
 * @param template the template's resources, including all that the role refers to
 */
export function readRole(template: Resources, id: string, accountRegion: AccountRegion): LabRole {
  const propertiesOf = (name: string) =>
    resolveIntrinsics(template[name]?.Properties, template, accountRegion);
  const role = propertiesOf(id) as RoleProperties | undefined;
  if (!role) throw new Error(`The template has no role ${id}; it has ${Object.keys(template).join(', ')}`);
  const attached = role.ManagedPolicyArns.map((name) => propertiesOf(name) as RoleProperties['Policies'][0]);
  return {
    roleName: role.RoleName,
    trust: readStatements(role.AssumeRolePolicyDocument),
    grants: [...role.Policies, ...attached].flatMap(({ PolicyDocument }) => readStatements(PolicyDocument)),
  };
}

const readStatements = ({ Statement }: PolicyDocument): ResolvedStatement[] =>
  Statement.map(({ Action, Resource = '*', Condition = {} }) => ({
    actions: Action,
    resources: [Resource].flat() as string[],
    conditions: Condition as ResolvedStatement['conditions'],
  }));

/**
 * Resolves `Ref`, `Fn::Sub` and `Fn::GetAtt` like CloudFormation, except that it replaces a Ref to a policy with the
 * logical ID of the policy.
 */
function resolveIntrinsics(value: unknown, template: Resources, accountRegion: AccountRegion): unknown {
  if (Array.isArray(value)) return value.map((one) => resolveIntrinsics(one, template, accountRegion));
  if (typeof value !== 'object' || value === null) return value;
  const { Ref, 'Fn::Sub': text, 'Fn::GetAtt': attribute } = value as Intrinsic;
  if (Ref !== undefined) return pseudoParameter(Ref, accountRegion);
  if (text !== undefined)
    return text.replaceAll(/\$\{([^}]+)\}/g, (_, name: string) => pseudoParameter(name, accountRegion));
  if (attribute !== undefined) return arnOfQueue(attribute[0], template, accountRegion);
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [key, resolveIntrinsics(one, template, accountRegion)]),
  );
}

interface Intrinsic {
  readonly Ref?: string;
  readonly 'Fn::Sub'?: string;
  readonly 'Fn::GetAtt'?: readonly [string, string];
}

function pseudoParameter(name: string, { account, region }: AccountRegion): string {
  const known = { 'AWS::Partition': 'aws', 'AWS::Region': region, 'AWS::AccountId': account };
  return Object.hasOwn(known, name) ? known[name as keyof typeof known] : name;
}

/** Returns the ARN of a queue. Queues are the only resources in the stack whose ARNs appear in its policies. */
function arnOfQueue(id: string, template: Resources, { account, region }: AccountRegion): string {
  const name = template[id]?.Properties['QueueName'];
  if (typeof name !== 'string') throw new Error(`The template has no queue ${id}`);
  return `arn:aws:sqs:${region}:${account}:${name}`;
}
