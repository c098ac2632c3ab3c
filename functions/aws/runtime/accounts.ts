import { getClients, type Clients } from '../../../shared/aws/client/clients';
import { makeCloud } from '../../../shared/aws/cloud';
import { memberRoleName } from '../../../shared/aws/names';
import type { AwsNode } from '../../../shared/aws/discover/nodes';
import type { Cloud } from '../../../shared/core/cloud';
import type { Dependencies } from '../../../shared/core/reconcile/reconcile';
import { commonDependencies } from '../../runtime/dependencies';
import { stage } from '../../runtime/settings';
import type { FunctionLocation } from './function-location';
import { readSettings } from './settings';

/** Read when the function starts, so that a bad setting or a bad config stops it there. */
export const settings = readSettings(process.env);
const { config, clock, log } = commonDependencies();
export { log };

/** One account as a function works in it. */
export interface Account extends Dependencies {
  readonly cloud: Cloud<AwsNode>;
  readonly id: string;
  readonly clients: Clients;
}

/** The ids of all accounts whose nodes are served, the function's own first. */
export function accountsOf({ account }: FunctionLocation): readonly string[] {
  return [...new Set([account, ...settings.memberAccounts])];
}

const accountsById = new Map<string, Account>();

/** In its own account a function acts as itself, in any other by the role that is there for it. */
export function accountFor(id: string, location: FunctionLocation): Account {
  const account = accountsById.get(id) ?? openAccount(id, location);
  accountsById.set(id, account);
  return account;
}

function openAccount(id: string, { partition, account, region }: FunctionLocation): Account {
  const role = `arn:${partition}:iam::${id}:role/${memberRoleName(stage(), region)}`;
  const clients = getClients(region, id === account ? undefined : role);
  return { id, clients, cloud: makeCloud(clients, { stage: stage() }), config, clock, log };
}
