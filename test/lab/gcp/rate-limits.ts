/** A quota: calls a minute for each project and, for methods of zones and regions, for each region. */
interface QuotaLimit {
  readonly metric: string;
  readonly limit: string;
  readonly perMinute: number;
}

/**
 * The groups and intervals follow cloud.google.com/compute/docs/api-rate-limits as of April 2026: these are the
 * quotas that the page calls "legacy", which stay in force. The page no longer has figures. It used to list 1,500 for
 * queries and reads; the other figures are not verified.
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
  'compute.instances.getGuestAttributes': 'queries', // listed there, among the mutations
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

/** Each VM may make 10 queries for guest attributes a minute (Compute Engine, "Set and query guest attributes"). */
const guestAttributeQueriesPerMinute = 10;

export interface CallTarget {
  readonly project?: string;
  readonly zone?: string;
  readonly region?: string;
  readonly instance?: string;
}

export interface RateLimits {
  /**
   * The number of calls beyond a quota, including reads of guest attributes beyond a VM's limit. Those reads still
   * get a response, because the documentation says only that attributes may be lost.
   */
  readonly callsOverLimit: number;
  /**
   * Counts a call.
   * @returns the quota that the call exceeds, if any
   */
  take(method: string, scope: CallTarget): QuotaLimit | undefined;
}

/**
 * Quotas are reset at the start of each minute, as documented.
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

/** Makes the cloud count calls and reject calls beyond the default rate quotas from now on. */
export function enableRateLimits(cloud: { rateLimits?: RateLimits }): RateLimits {
  return (cloud.rateLimits = makeRateLimits());
}

const regionOf = (zone: string): string => zone.slice(0, zone.lastIndexOf('-'));
