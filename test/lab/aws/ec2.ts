import * as z from 'zod';
import { firewallActions } from './ec2-firewalls';
import { instanceActions } from './ec2-instances';
import { networkActions } from './ec2-networks';
import { xml, type Fields } from './query-protocol';
import { AwsApiError } from './api-error';
import type { AwsState } from './state';

/** The actions of EC2's query protocol. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/ */

const actions = { ...instanceActions, ...networkActions, ...firewallActions };

/**
 * Handles a call.
 * @returns the response as XML
 * @throws AwsRefusal
 */
export function handleEc2(state: AwsState, action: string, fields: Fields, requestId: string): string {
  const act = Object.hasOwn(actions, action) ? actions[action] : undefined;
  if (!act) throw new AwsApiError('InvalidAction', `The action ${action} is not valid for this web service.`);
  try {
    return xml({ [`${action}Response`]: { requestId, ...act(state, fields) } });
  } catch (error) {
    throw error instanceof z.ZodError ? toApiError(error) : error;
  }
}

/** Returns EC2's error for an unknown, missing or invalid parameter. */
function toApiError({ issues: [issue] }: z.ZodError): AwsApiError {
  const path = issue?.path.join('.') ?? '';
  if (issue?.code === 'unrecognized_keys') {
    return new AwsApiError('UnknownParameter', `The parameter ${issue.keys[0] ?? ''} is not recognized`);
  }
  if (issue?.code === 'invalid_type' && issue.input === undefined) {
    return new AwsApiError('MissingParameter', `The request must contain the parameter ${path}`);
  }
  return new AwsApiError(
    'InvalidParameterValue',
    `Invalid value for parameter ${path}: ${issue?.message ?? ''}`,
  );
}

export function ec2Error({ code, message }: AwsApiError, requestId: string): string {
  const Errors = { Error: { Code: code, Message: message } };
  return `<?xml version="1.0" encoding="UTF-8"?>\n${xml({ Response: { Errors, RequestID: requestId } })}`;
}
