import { GcpApiError, checkNoBody, notFound, readLabels, readMetadata } from './compute-input';
import {
  listAggregated,
  aggregatedQuery,
  requireProject,
  type MethodCall,
  type Method,
} from './compute-method';
import type { Operations } from './compute-operations';
import { fingerprintOf, pathOf, vmResource } from './compute-resources';
import { hasGuestAttributes, type GcpState, type LabVm } from './state';

const path = 'projects/{project}/zones/{zone}/instances/{instance}';

export function instanceMethods(cloud: GcpState, operations: Operations): Method[] {
  const find = ({ params }: MethodCall) => findVm(cloud, params);
  const read = (
    name: string,
    query: readonly string[],
    show: (vm: LabVm, call: MethodCall) => unknown,
  ): Method => ({
    name: `compute.instances.${name}`,
    verb: 'GET',
    path: name === 'get' ? path : `${path}/${name}`,
    query,
    handle: (call) => show(find(call), call),
  });
  /**
   * Defines a method that changes an instance through an operation. Calls fail until the instance is ready.
   */
  const change = (name: string, apply: (cloud: GcpState, vm: LabVm, body: unknown) => void): Method => ({
    name: `compute.instances.${name}`,
    verb: 'POST',
    path: `${path}/${name}`,
    query: ['requestId'],
    handle: (call) => {
      const vm = find(call);
      return operations.start(call, name, vm, () => {
        apply(cloud, vm, call.body);
      });
    },
  });
  return [
    read('get', [], vmResource),
    read('getGuestAttributes', ['queryPath', 'variableKey'], (vm, { query }) =>
      guestAttributes(cloud, vm, query.get('queryPath') ?? ''),
    ),
    change('setMetadata', setMetadata),
    change('setLabels', setLabels),
    change('reset', reset),
    {
      name: 'compute.instances.aggregatedList',
      verb: 'GET',
      path: 'projects/{project}/aggregated/instances',
      query: aggregatedQuery,
      handle: (call) =>
        listAggregated(cloud, call, cloud.vms, 'instances', ({ zone }) => `zones/${zone}`, vmResource, {
          'networkInterfaces.networkIP': ({ networkInterfaces }) =>
            networkInterfaces.flatMap(({ networkIP }) => networkIP ?? []),
        }),
    },
  ];
}

export function findVm(
  cloud: GcpState,
  { project = '', zone = '', instance = '' }: MethodCall['params'],
): LabVm {
  requireProject(cloud, project);
  const vm = cloud.vms.find(
    (one) => one.project === project && one.zone === zone && (one.id === instance || one.name === instance),
  );
  if (!vm) throw notFound(`projects/${project}/zones/${zone}/instances/${instance}`);
  return vm;
}

function checkReady(vm: LabVm, isReady = vm.isReady): void {
  if (isReady) return;
  throw new GcpApiError(400, 'resourceNotReady', `The resource '${pathOf(vm)}' is not ready`);
}

const conditionNotMet = (message: string) => new GcpApiError(412, 'conditionNotMet', message);

function setMetadata(cloud: GcpState, vm: LabVm, body: unknown): void {
  const { items, fingerprint } = readMetadata(body);
  checkReady(vm);
  if (fingerprint !== fingerprintOf(vm.metadata))
    throw conditionNotMet('Supplied fingerprint does not match current metadata fingerprint.');
  vm.metadata = items;
  cloud.changes.emit('change', vm);
}

function setLabels(cloud: GcpState, vm: LabVm, body: unknown): void {
  const { labels, fingerprint } = readLabels(body);
  checkReady(vm);
  if (fingerprint !== fingerprintOf(vm.labels))
    throw conditionNotMet('Labels fingerprint either invalid or resource labels have changed');
  vm.labels = labels;
  cloud.changes.emit('labels', vm);
}

/** Resets a VM. The error for a VM that is not running is not verified against the real API. */
function reset(cloud: GcpState, vm: LabVm, body: unknown): void {
  checkNoBody(body);
  checkReady(vm, vm.isReady && vm.status === 'RUNNING');
  if (vm.lastStartTimestamp !== undefined && !cloud.keepsStartOnReset)
    vm.lastStartTimestamp = new Date().toISOString();
  cloud.changes.emit('reset', vm);
}

/**
 * Returns the guest attributes. If guest attributes are not enabled, the response is the same as for an instance
 * without any; that response is not verified against the real API.
 */
function guestAttributes(cloud: GcpState, vm: LabVm, queryPath: string): unknown {
  if (cloud.projects[vm.project]?.isGuestAttributesPolicyOn) {
    const constraint = 'constraints/compute.disableGuestAttributesAccess';
    throw conditionNotMet(`Constraint ${constraint} violated for project ${vm.project}.`);
  }
  const items = Object.entries(hasGuestAttributes(cloud, vm) ? vm.guestAttributes : {})
    .filter(([key]) => key === queryPath || (queryPath.endsWith('/') && key.startsWith(queryPath)))
    .map(([key, value]) => {
      const [namespace, name] = key.split('/');
      return { namespace, key: name, value };
    });
  if (items.length === 0) {
    throw new GcpApiError(
      404,
      'notFound',
      `The resource '${queryPath}' of type 'Guest Attribute' was not found.`,
    );
  }
  return { kind: 'compute#guestAttributes', queryPath, queryValue: { items } };
}
