import * as z from 'zod';
import { CidrError, contains, covers, parseCidr, type Address, type Cidr } from './cidr';
import { messageOf } from './errors';
import { routeSourceKinds } from './node';
import { reservedRangeOf, reservedReason } from './reserved-ranges';
import { interfacePattern, namePattern, parseProbe, printProbe, type Probe } from './rule-set';

interface Issue {
  readonly input?: unknown;
}

const expected =
  (what: string) =>
  ({ input }: Issue): string =>
    input === undefined
      ? `missing value: expected ${what}`
      : `invalid value ${quote(input)}: expected ${what}`;

/** Returns the error message for a value that is not an object. Unknown keys are reported individually. */
const expectedObject =
  (what: string) =>
  (issue: Issue & { readonly code?: string }): string | undefined =>
    issue.code === 'invalid_type' ? expected(what)(issue) : undefined;

function quote(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

/**
 * Returns the schema of a string that `parse` converts. Errors that `parse` throws are reported together with all
 * other errors.
 */
const parsedString = <T>(parse: (text: string) => T, what: string) =>
  z
    .string({ error: expected(what) })
    .transform((text, context) => {
      try {
        return parse(text);
      } catch (error) {
        context.addIssue({ code: 'custom', message: messageOf(error) });
        return z.NEVER;
      }
    })
    .meta({ description: `${what.charAt(0).toUpperCase()}${what.slice(1)}.` });

function parseExemptCidr(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr.prefix === 0) throw notAllowed(cidr, 'contains every address');
  return cidr;
}

function parseDestinationCidr(text: string): Cidr {
  const cidr = parseCidr(text);
  const reason = reservedReason(cidr);
  if (reason !== undefined) throw notAllowed(cidr, reason);
  return cidr;
}

const notAllowed = ({ text }: Cidr, reason: string) =>
  new CidrError(`${JSON.stringify(text)} is not allowed: it ${reason}`);

const exemptRange = parsedString(parseExemptCidr, 'a CIDR, such as 10.193.7.0/24');
const destinationRange = parsedString(parseDestinationCidr, 'a CIDR, such as 10.193.0.0/16');
const probe = parsedString(parseProbe, 'ADDRESS:PORT, such as 10.193.0.3:5432 or [fd00::1]:5432');

const trueOrFalse = (options: { readonly default: boolean; readonly description: string }) =>
  z
    .boolean({ error: expected('true or false') })
    .default(options.default)
    .meta({ description: options.description });

const namedRange = z
  .strictObject({
    cidr: destinationRange,
    name: z
      .string()
      .regex(namePattern, {
        error: expected('1 to 63 letters, digits or . _ : / @ - (the name becomes the comment of a rule)'),
      })
      .optional(),
    'even-if-routed': trueOrFalse({
      default: false,
      description:
        'Masquerade also to peers that have routes to the pods, and to a range inside the node’s own network.',
    }),
  })
  .transform(({ cidr, name, 'even-if-routed': evenIfRouted }) => ({
    cidr,
    name: name ?? cidr.text,
    evenIfRouted,
  }))
  .meta({
    description: 'A range that is not discovered from routes, and a name for the comment of its rule.',
  });

const routeSourceKind = z.enum(routeSourceKinds, {
  error: expected(`${routeSourceKinds.join(', ')}, or {cidr, name}`),
});

const listOf = <T extends z.ZodType>(item: T, description: string) =>
  z
    .array(item, { error: expected('a list, such as [a, b]') })
    .default([])
    .meta({ description });

/**
 * Rejects destinations inside the cluster's own ranges. Runs even if other settings are invalid, so that all errors
 * are reported together.
 */
function rejectOwnRanges(cluster: unknown, context: z.core.$RefinementCtx): void {
  const { pods, services, masquerade } = partialCluster.parse(cluster);
  const own = [...pods, ...services].filter(isCidr);
  masquerade.forEach((entry, index) => {
    const { cidr } = partialRange.parse(entry);
    const outer = isCidr(cidr) && own.find((range) => covers(range, cidr));
    if (!outer) return;
    const message = `${cidr.text} is inside ${outer.text}, a pod or service range of the cluster: pods reach it without masquerading`;
    context.addIssue({ code: 'custom', path: ['masquerade', index, 'cidr'], message });
  });
}

/**
 * Rejects probes that no rule set can contain: a probe must be in a range that the node masquerades to. Probes to
 * discovered ranges are checked by the plan.
 */
function rejectUnmasqueradedProbes(cluster: unknown, context: z.core.$RefinementCtx): void {
  const partial = partialCluster.parse(cluster);
  partial.probe.forEach((probe, index) => {
    if (!isProbe(probe)) return;
    const reason = notMasqueradedReason(probe.address, partial);
    if (reason === undefined) return;
    const message = `probe ${printProbe(probe)} is in ${reason}`;
    context.addIssue({ code: 'custom', path: ['probe', index], message });
  });
}

function notMasqueradedReason(address: Address, cluster: PartialCluster): string | undefined {
  const { pods, services, except, masquerade } = cluster;
  const rangeIn = (ranges: readonly unknown[]) =>
    ranges.filter(isCidr).find((range) => contains(range, address));
  const reserved = reservedRangeOf(address);
  if (reserved) return `${reserved.cidr.text} (${reserved.reason}), which is never masqueraded`;
  const own = rangeIn([...pods, ...services]);
  if (own) return `${own.text}, a pod or service range of the cluster: pods reach it without masquerading`;
  const excepted = rangeIn(except);
  if (excepted) return `${excepted.text}, a range in the except list: it is never masqueraded`;
  const ranges = masquerade.map((entry) => partialRange.parse(entry).cidr);
  if (!ranges.every(isCidr) || rangeIn(ranges)) return undefined;
  return 'none of the ranges to masquerade: add its range as a cidr entry, or remove the probe';
}

const unknowns = z.array(z.unknown()).catch([]);
const partialSchema = z.object({
  pods: unknowns,
  services: unknowns,
  masquerade: unknowns,
  except: unknowns,
  probe: unknowns,
});
type PartialCluster = z.output<typeof partialSchema>;
const partialCluster = partialSchema.catch({ pods: [], services: [], masquerade: [], except: [], probe: [] });
const partialRange = z.object({ cidr: z.unknown() }).catch({ cidr: undefined });
const isCidr = (value: unknown): value is Cidr =>
  typeof value === 'object' && value !== null && 'first' in value;
const isProbe = (value: unknown): value is Probe =>
  typeof value === 'object' && value !== null && 'port' in value;

const restart = z.strictObject(
  { maxUnavailable: z.literal(1, { error: expected('1: nodes are restarted one at a time') }) },
  { error: expectedObject('{maxUnavailable: 1}') },
);

const clusterSchema = z
  .strictObject(
    {
      pods: listOf(exemptRange, 'Pod ranges that the cloud API does not report.'),
      services: listOf(exemptRange, 'Service ranges that the cloud API does not report.'),
      masquerade: listOf(
        z.union([routeSourceKind, namedRange]),
        'Destinations that pods reach with the address of their node. peerings, vpn and transit-gateways mean every range that the node’s subnet routes over a connection of that kind. peerings includes routes that a peer passes on, such as those to the networks behind its VPN; peering-transit includes only those routes.',
      ),
      except: listOf(exemptRange, 'Ranges that are never masqueraded.'),
      probe: listOf(
        probe,
        'TCP services that each node connects to as a pod would, to prove that the rules work.',
      ),
      out: z
        .string()
        .regex(interfacePattern, { error: expected('an interface name, such as eth0') })
        .optional()
        .meta({ description: 'Masquerade only traffic that leaves through this interface.' }),
      'random-fully': trueOrFalse({ default: false, description: 'Add --random-fully to each rule.' }),
      'control-plane': trueOrFalse({ default: true, description: 'Include control-plane nodes.' }),
      restart: restart.optional().meta({
        description:
          'Google Cloud: a backfill restarts nodes that need a reboot, one at a time. Without this setting, such nodes are only reported.',
      }),
    },
    { error: expectedObject('cluster settings, or {} for the defaults') },
  )
  .superRefine(rejectOwnRanges, { when: () => true })
  .superRefine(rejectUnmasqueradedProbes, { when: () => true });

const clusterName = z.string().regex(/^(\*|[A-Za-z0-9][A-Za-z0-9._-]{0,252})$/, {
  error: expected('a cluster name as in the tags or labels of its nodes, or "*"'),
});

/** The schema of peermasq.yaml. `npm run schema` writes it to docs/peermasq.schema.json. */
export const configSchema = z
  .strictObject(
    {
      clusters: z
        .record(clusterName, clusterSchema, { error: expected('clusters by name') })
        .meta({ description: 'Clusters by name; "*" matches any cluster.' }),
    },
    { error: expectedObject('a mapping with the key "clusters"') },
  )
  .meta({ title: 'peermasq.yaml', description: 'The ranges that each cluster masquerades to.' });
