import { getClients, type Clients } from '../../../shared/aws/client/clients';
import { makeCloud } from '../../../shared/aws/cloud';
import { memberRoleName } from '../../../shared/aws/names';
import type { AwsNode } from '../../../shared/aws/discover/nodes';
import type { Cloud } from '../../../shared/core/cloud';
import type { NonEmpty } from '../../../shared/core/util/collections';
import { memoize } from '../../../shared/core/util/functional';
import type { Dependencies } from '../../../shared/core/reconcile/reconcile';
import { commonDependencies } from '../../runtime/dependencies';
import { stage } from '../../runtime/settings';
import type { FunctionLocation } from './invocation';
import { readSettings } from './settings';

/**
 * Settings are read when the function starts. An invalid setting or config therefore fails before any event is
 * received.
 */
export const settings = readSettings(process.env);
const { config, clock, log } = commonDependencies();
export { log };

/** An account, and the dependencies that reconciling its nodes requires. */
interface Account extends Dependencies {
  readonly cloud: Cloud<AwsNode>;
  readonly id: string;
  readonly clients: Clients;
}

/** The IDs of all accounts whose nodes are managed, starting with the function's own account. */
export function accountsOf({ account }: FunctionLocation): NonEmpty<string> {
  return [account, ...new Set(settings.memberAccounts.filter((id) => id !== account))];
}

const cloudOf = memoize((clients: Clients) => makeCloud(clients, { stage: stage() }));

/** Returns an account's dependencies. For a member account, the function assumes a role in that account. */
export function accountFor(id: string, { partition, account, region }: FunctionLocation): Account {
  const role = `arn:${partition}:iam::${id}:role/${memberRoleName(stage(), region)}`;
  const clients = getClients(region, id === account ? undefined : role);
  return { id, clients, cloud: cloudOf(clients), config, clock, log };
}
