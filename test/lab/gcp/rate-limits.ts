/** A limit on the calls per minute in a project. Zonal and regional methods have a separate limit in each region. */
interface QuotaLimit {
  readonly metric: string;
  readonly limit: string;
  readonly perMinute: number;
}

/**
 * The groups and intervals are those of the quotas that cloud.google.com/compute/docs/api-rate-limits calls "legacy"
 * (April 2026). These quotas are still in force, but the page no longer gives figures. It used to list 1,500 for
 * queries and reads; the other figures here are not verified.
 */
const limits = {
  queries: { metric: 'Queries', limit: 'Queries per minute per region', perMinute: 1_500 },
  reads: { metric: 'Read requests', limit: 'Read requests per minute', perMinute: 1_500 },
  regionalReads: {
    metric: 'Read requests',
    limit: 'Read requests per minute per region',
    perMinute: 1_500,
  },
  lists: { metric: 'List requests', limit: 'List requests per minute', perMinute: 1_500 },
  operationReads: {
    metric: 'Operation read requests',
    limit: 'Operation read requests per minute per region',
    perMinute: 1_500,
  },
  heavyReads: {
    metric: 'Heavy-weight read requests',
    limit: 'Heavy-weight read requests per minute',
    perMinute: 750,
  },
  regionalHeavyReads: {
    metric: 'Heavy-weight read requests',
    limit: 'Heavy-weight read requests per minute per region',
    perMinute: 750,
  },
} as const satisfies Record<string, QuotaLimit>;

const limitOf: Readonly<Record<string, keyof typeof limits>> = {
  'compute.forwardingRules.aggregatedList': 'heavyReads',
  'compute.instances.aggregatedList': 'heavyReads',
  'compute.instances.get': 'regionalReads',
  'compute.instances.getEffectiveFirewalls': 'regionalReads',
  'compute.instances.getGuestAttributes': 'queries', // the documentation groups this read with the mutations
  'compute.instances.reset': 'queries',
  'compute.instances.setLabels': 'queries',
  'compute.instances.setMetadata': 'queries',
  'compute.networks.get': 'reads',
  'compute.networks.getEffectiveFirewalls': 'reads',
  'compute.networks.listPeeringRoutes': 'lists',
  'compute.routers.aggregatedList': 'heavyReads',
  'compute.routers.getRouterStatus': 'regionalReads',
  'compute.routes.list': 'lists',
  'compute.subnetworks.aggregatedList': 'heavyReads',
  'compute.zoneOperations.get': 'operationReads',
  'compute.zoneOperations.wait': 'regionalHeavyReads',
};

/** Guest attributes of a VM can be queried 10 times a minute (Compute Engine, "Set and query guest attributes"). */
const guestAttributeQueriesPerMinute = 10;

export interface CallTarget {
  readonly project?: string;
  readonly zone?: string;
  readonly region?: string;
  readonly instance?: string;
}

export interface RateLimits {
  /**
   * The number of calls that exceeded a quota or a VM's limit for reading guest attributes. A read over the VM's limit
   * still gets a response, because the documentation says only that attributes may be lost.
   */
  readonly callsOverLimit: number;
  /**
   * Counts a call.
   * @returns the quota that the call exceeds, if any
   */
  take(method: string, scope: CallTarget): QuotaLimit | undefined;
}

/**
 * Returns quotas that are reset at the start of each minute, as documented.
 * @param now returns the time in milliseconds
 */
export function makeRateLimits(now: () => number = () => Date.now()): RateLimits {
  let minute = 0;
  let callsOverLimit = 0;
  const used = new Map<string, number>();

  function isOver(key: string, perMinute: number): boolean {
    const count = (used.get(key) ?? 0) + 1;
    used.set(key, count);
    if (count > perMinute) callsOverLimit += 1;
    return count > perMinute;
  }

  return {
    get callsOverLimit() {
      return callsOverLimit;
    },
    take(method, { project = '', zone, region = zone && regionOf(zone), instance }) {
      const current = Math.floor(now() / 60_000);
      if (current !== minute) used.clear();
      minute = current;
      const name = limitOf[method];
      if (!name) throw new Error(`No quota is known for ${method}`);
      const limit = limits[name];
      const scope = limit.limit.endsWith('region') ? region : 'global';
      if (isOver(`${name} ${project} ${scope}`, limit.perMinute)) return limit;
      if (method.endsWith('.getGuestAttributes')) isOver(`guest ${instance}`, guestAttributeQueriesPerMinute);
      return undefined;
    },
  };
}

/** Turns on the default rate quotas: the cloud counts calls and rejects those that exceed a quota. */
export function enableRateLimits(cloud: { rateLimits?: RateLimits }): RateLimits {
  return (cloud.rateLimits = makeRateLimits());
}

const regionOf = (zone: string): string => zone.slice(0, zone.lastIndexOf('-'));
