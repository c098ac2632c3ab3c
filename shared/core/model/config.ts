import { isMap, isNode, LineCounter, parseDocument, type Document } from 'yaml';
import * as z from 'zod';
import { CidrError, covers, parseCidr, type Cidr } from './cidr';
import { messageOf, PermanentError } from './errors';
import { routeSourceKinds, type RouteSourceKind } from './node';
import { reservedReason } from './reserved-ranges';
import { interfacePattern, namePattern, parseProbe, type NamedCidr, type Probe } from './rule-set';

export interface ClusterConfig {
  /** As its nodes carry it; `*` matches any cluster. */
  readonly name: string;
  readonly pods: readonly Cidr[];
  readonly services: readonly Cidr[];
  readonly masquerade: readonly (RouteSourceKind | NamedCidr)[];
  readonly except: readonly Cidr[];
  readonly probe: readonly Probe[];
  readonly out?: string;
  readonly randomFully: boolean;
  /** Whether its control-plane nodes are served too. */
  readonly controlPlane: boolean;
  /** Google Cloud: whether a backfill restarts nodes that need a reboot, and how many at a time. */
  readonly restart?: { readonly maxUnavailable: 1 };
}

export interface Config {
  readonly clusters: readonly ClusterConfig[];
}

/** One thing wrong with peermasq.yaml. Lines and columns count from 1. */
export interface FieldError {
  readonly line: number;
  readonly column: number;
  /** Where it is, as a path: `clusters.frontend.pods[0]`. */
  readonly path: string;
  readonly message: string;
}

/** Every fault of the config at once. */
export class ConfigError extends PermanentError {
  readonly errors: readonly FieldError[];

  constructor(errors: readonly FieldError[]) {
    const list = errors.map(({ line, column, path, message }) => `  ${line}:${column} ${path}: ${message}`);
    super(
      'bad-config',
      `peermasq.yaml has ${errors.length} ${errors.length === 1 ? 'fault' : 'faults'}:\n${list.join('\n')}`,
      'Mend every line named; nothing is planned from a config with faults.',
    );
    this.errors = errors;
  }
}

/** A string that `read` turns into a value; what `read` throws becomes the fault. */
const parsedString = <T>(read: (text: string) => T, description: string) =>
  z
    .string({ error: ({ input }) => `read ${quote(input)}; accepted is ${description}` })
    .transform((text, context) => {
      try {
        return read(text);
      } catch (error) {
        context.addIssue({ code: 'custom', message: messageOf(error) });
        return z.NEVER;
      }
    })
    .meta({ description });

function parseExemptCidr(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr.prefix === 0)
    throw new CidrError(`${JSON.stringify(text)} is refused: it holds every address there is`);
  return cidr;
}

function parseUsableCidr(text: string): Cidr {
  const cidr = parseCidr(text);
  const reason = reservedReason(cidr);
  if (reason) throw new CidrError(`${JSON.stringify(text)} is refused: it ${reason}`);
  return cidr;
}

const anyRange = parsedString(parseExemptCidr, 'a CIDR, such as 10.193.7.0/24');
const range = parsedString(parseUsableCidr, 'a CIDR, such as 10.193.0.0/16');
const probe = parsedString(parseProbe, 'ADDRESS:PORT, such as 10.193.0.3:5432 or [fd00::1]:5432');

const staticRange = z
  .strictObject({
    cidr: range,
    name: z
      .string()
      .regex(namePattern, {
        error: ({ input }) =>
          `read ${quote(input)}; accepted are 1 to 63 letters, digits and . _ : / @ - (it becomes the comment of a rule)`,
      })
      .optional(),
  })
  .transform(({ cidr, name }) => ({ cidr, name: name ?? cidr.text }))
  .meta({ description: 'A range that no route of the cloud shows, and the name its rule will bear.' });

const acceptedKinds = `${routeSourceKinds.join(', ')}, or {cidr, name}`;
const routeSourceKind = z.enum(routeSourceKinds, {
  error: ({ input }) => `read ${quote(input)}; accepted are ${acceptedKinds}`,
});

const listSchema = <T extends z.ZodType>(item: T, description: string) =>
  z
    .array(item, { error: ({ input }) => `read ${quote(input)}; accepted is a list, such as [a, b]` })
    .default([])
    .meta({ description });

const booleanSchema = (defaultValue: boolean, description: string) =>
  z
    .boolean({ error: ({ input }) => `read ${quote(input)}; accepted is true or false` })
    .default(defaultValue)
    .meta({ description });

/** Runs also where other settings have faults, so that all are told at once. */
function rejectOwnRanges(cluster: unknown, context: z.core.$RefinementCtx): void {
  const { pods, services, masquerade } = partialCluster.parse(cluster);
  const own = [...pods, ...services].filter(isCidr);
  masquerade.forEach((entry, index) => {
    const { cidr } = partialRange.parse(entry);
    const containing = isCidr(cidr) && own.find((range) => covers(range, cidr));
    if (!containing) return;
    const message = `${cidr.text} lies inside ${containing.text}, the cluster's own range; pods reach it without masquerading`;
    context.addIssue({ code: 'custom', path: ['masquerade', index, 'cidr'], message });
  });
}

const unknowns = z.array(z.unknown()).catch([]);
const partialCluster = z
  .object({ pods: unknowns, services: unknowns, masquerade: unknowns })
  .catch({ pods: [], services: [], masquerade: [] });
const partialRange = z.object({ cidr: z.unknown() }).catch({ cidr: undefined });
const isCidr = (value: unknown): value is Cidr =>
  typeof value === 'object' && value !== null && 'first' in value;

const clusterSchema = z
  .strictObject(
    {
      pods: listSchema(anyRange, 'Pod ranges, where the cloud cannot tell.'),
      services: listSchema(anyRange, 'Service ranges, where the cloud cannot tell.'),
      masquerade: listSchema(
        z.union([routeSourceKind, staticRange]),
        'Where pods need the node’s address: peerings, vpn and transit-gateways stand for what the subnet routes there.',
      ),
      except: listSchema(anyRange, 'Ranges that are never masqueraded to.'),
      probe: listSchema(probe, 'TCP services that each node connects to as a pod would, to prove the rule.'),
      out: z
        .string()
        .regex(interfacePattern, {
          error: ({ input }) => `read ${quote(input)}; accepted is an interface name, such as eth0`,
        })
        .optional()
        .meta({ description: 'Masquerade only what leaves by this interface.' }),
      'random-fully': booleanSchema(false, 'Add --random-fully to each rule.'),
      'control-plane': booleanSchema(true, 'Serve the nodes of the control plane too.'),
      restart: z
        .strictObject(
          {
            maxUnavailable: z.literal(1, {
              error: ({ input }) => `read ${quote(input)}; accepted is 1: nodes are restarted one at a time`,
            }),
          },
          {
            error: ({ code, input }) =>
              code === 'invalid_type' ? `read ${quote(input)}; accepted is {maxUnavailable: 1}` : undefined,
          },
        )
        .optional()
        .meta({
          description:
            'Google Cloud: a backfill restarts nodes that were handed their rules too late, one at a time. Without it they are only reported.',
        }),
    },
    {
      error: ({ code, input }) =>
        code === 'invalid_type'
          ? `read ${quote(input)}; accepted are the settings of a cluster; write {} for none`
          : undefined,
    },
  )
  .superRefine(rejectOwnRanges, { when: () => true });

const clusterName = z.string().regex(/^(\*|[A-Za-z0-9][A-Za-z0-9._-]{0,252})$/, {
  error: ({ input }) => `read ${quote(input)}; accepted is a cluster's name as its nodes carry it, or "*"`,
});

export const configSchema = z
  .strictObject(
    {
      clusters: z
        .record(clusterName, clusterSchema, {
          error: ({ input }) => `read ${quote(input)}; accepted are clusters by name`,
        })
        .meta({ description: 'By name; "*" matches any cluster.' }),
    },
    {
      error: ({ code, input }) =>
        code === 'invalid_type'
          ? `read ${quote(input)}; accepted is a file that starts with "clusters:"`
          : undefined,
    },
  )
  .meta({ title: 'peermasq.yaml', description: 'Which clusters masquerade to which ranges.' });

/**
 * Reads peermasq.yaml.
 * @throws ConfigError with every fault, its line and column, what was read and what is accepted.
 */
export function parseConfig(text: string): Config {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const syntaxErrors = document.errors.map(({ pos, message }): FieldError => ({
    ...position(lines, pos[0]),
    path: 'YAML',
    message,
  }));
  // A key that stands twice leaves the rest to be read; anything else does not.
  if (document.errors.some(({ code }) => code !== 'DUPLICATE_KEY')) throw new ConfigError(syntaxErrors);
  const { data, error } = configSchema.safeParse(toValue(document));
  const issues = (error?.issues ?? []).flatMap((issue) => toFieldErrors(issue, document, lines));
  if (!data || syntaxErrors.length > 0) {
    const errors = [...syntaxErrors, ...issues];
    throw new ConfigError(errors.toSorted((a, b) => a.line - b.line || a.column - b.column));
  }
  return {
    clusters: Object.entries(data.clusters).map(
      ([name, { out, restart, 'random-fully': randomFully, 'control-plane': controlPlane, ...rest }]) => ({
        name,
        randomFully,
        controlPlane,
        ...(out === undefined ? {} : { out }),
        ...(restart === undefined ? {} : { restart }),
        ...rest,
      }),
    ),
  };
}

/** The route sources that a cluster asks for, beside the ranges that it names itself. */
export function requestedKinds({ masquerade }: ClusterConfig): RouteSourceKind[] {
  return masquerade.filter((entry) => typeof entry === 'string');
}

/** The entry for a cluster: its own, else that of `*`. */
export function clusterConfig(config: Config, name: string): ClusterConfig | undefined {
  const named = (wanted: string) => config.clusters.find((cluster) => cluster.name === wanted);
  return named(name) ?? named('*');
}

function toValue(document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw new ConfigError([{ line: 1, column: 1, path: 'YAML', message: messageOf(cause) }]);
  }
}

function toFieldErrors(issue: z.core.$ZodIssue, document: Document, lines: LineCounter): FieldError[] {
  const at = (path: readonly PropertyKey[], message: string): FieldError => ({
    ...position(lines, offsetOf(document, path)),
    path: printPath(path) || 'the file',
    message,
  });
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => at([...issue.path, key], 'is not a setting; is it misspelt?'));
    case 'invalid_key':
      return issue.issues.map(({ message }) => at(issue.path, message));
    case 'invalid_union': {
      // A kind of route source or a range: its shape tells which was meant, and only that one's faults help.
      const [kindIssues = [], rangeIssues = []] = issue.errors;
      const branchIssues = isMap(document.getIn(issue.path as unknown[], true)) ? rangeIssues : kindIssues;
      return branchIssues.flatMap((inner) =>
        toFieldErrors({ ...inner, path: [...issue.path, ...inner.path] }, document, lines),
      );
    }
    default:
      return [at(issue.path, issue.message)];
  }
}

function position(lines: LineCounter, offset: number): { line: number; column: number } {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(line, 1), column: Math.max(col, 1) };
}

/** Where the value at a path begins; for an absent one, where the nearest thing around it begins. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number {
  for (let length = path.length; length >= 0; length -= 1) {
    const found = length === 0 ? document.contents : document.getIn(path.slice(0, length) as unknown[], true);
    if (isNode(found) && found.range) return found.range[0];
  }
  return 0;
}

function printPath(path: readonly PropertyKey[]): string {
  return path
    .map((key, index) => (typeof key === 'number' ? `[${key}]` : `${index ? '.' : ''}${String(key)}`))
    .join('');
}

function quote(value: unknown): string {
  const text = JSON.stringify(value) as string | undefined;
  return text === undefined ? 'nothing' : text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
