import { createHash, randomInt } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { checkRequestId, notFound } from './compute-input';
import { requireProject, type MethodCall, type Method } from './compute-method';
import { url, type GcpState, type LabVm } from './state';

interface Operation {
  readonly name: string;
  readonly type: string;
  readonly project: string;
  readonly zone: string;
  readonly targetId: string;
  readonly ends: number;
}

/** The operations in all zones. */
export interface Operations {
  readonly methods: readonly Method[];
  /**
   * Applies a change through an operation. A repeated request ID returns the earlier operation and changes nothing.
   * @param change applies the change; throws an error to reject it
   */
  start(call: MethodCall, type: string, vm: LabVm, change: () => void): unknown;
}

const path = 'projects/{project}/zones/{zone}/operations/{operation}';

export function makeOperations(cloud: GcpState): Operations {
  const operations = new Map<string, Operation>();
  const requests = new Map<string, Operation>();

  function find({ params }: MethodCall): Operation {
    const { project = '', zone = '', operation: name = '' } = params;
    requireProject(cloud, project);
    const operation = operations.get(name);
    if (operation?.project === project && operation.zone === zone) return operation;
    throw notFound(`projects/${project}/zones/${zone}/operations/${name}`);
  }

  /**
   * Waits for an operation and returns its state. Like the real API, stops waiting after some time, even if the
   * operation is still running.
   */
  async function wait(call: MethodCall): Promise<unknown> {
    const operation = find(call);
    const until = Math.min(operation.ends, Date.now() + cloud.maxOperationWaitMs);
    // Timers and Date.now() use different clocks, so a timer may fire a millisecond early.
    for (let left = until - Date.now(); left > 0; left = until - Date.now()) await pause(left);
    return resource(cloud, operation);
  }

  return {
    start({ query }, type, { project, zone, id: targetId }, change) {
      const requestId = query.get('requestId');
      checkRequestId(requestId);
      const before = requestId === null ? undefined : requests.get(requestId);
      if (before?.targetId === targetId) return resource(cloud, before);
      change();
      const name = `operation-${Date.now()}-${randomInt(2 ** 40).toString(16)}`;
      const operation = { name, type, project, zone, targetId, ends: Date.now() + cloud.operationMs };
      operations.set(name, operation);
      if (requestId !== null) requests.set(requestId, operation);
      return resource(cloud, operation);
    },
    methods: [
      {
        name: 'compute.zoneOperations.get',
        verb: 'GET',
        path,
        query: [],
        handle: (call) => resource(cloud, find(call)),
      },
      { name: 'compute.zoneOperations.wait', verb: 'POST', path: `${path}/wait`, query: [], handle: wait },
    ],
  };
}

function resource({ operationError }: GcpState, operation: Operation): unknown {
  const { name, type, project, zone, targetId, ends } = operation;
  const isDone = Date.now() >= ends;
  const failed = {
    error: { errors: [operationError] },
    httpErrorStatusCode: 400,
    httpErrorMessage: 'BAD REQUEST',
  };
  return {
    kind: 'compute#operation',
    id: String(BigInt(`0x${createHash('sha256').update(name).digest('hex').slice(0, 15)}`)),
    name,
    zone: url(`projects/${project}/zones/${zone}`),
    operationType: type,
    targetId,
    status: isDone ? 'DONE' : 'RUNNING',
    progress: isDone ? 100 : 0,
    ...(isDone && operationError ? failed : {}),
  };
}
