import { isMap, isNode, LineCounter, parseDocument, type Document } from 'yaml';
import type * as z from 'zod';
import { definedOnly } from '../util/collections';
import type { Cidr } from './cidr';
import { configSchema } from './config-schema';
import { messageOf, PermanentError } from './errors';
import type { Node, RouteSourceKind } from './node';
import type { NamedCidr, Probe } from './rule-set';

/** A range that the config lists as a destination. */
export interface ConfiguredRange extends NamedCidr {
  /** Whether traffic is masqueraded even to peers that have routes to the pods, and within the node's own network. */
  readonly evenIfRouted: boolean;
}

export interface ClusterConfig {
  /** The cluster name from the tags or labels of the cluster's nodes; `*` matches any cluster. */
  readonly name: string;
  readonly pods: readonly Cidr[];
  readonly services: readonly Cidr[];
  readonly masquerade: readonly (RouteSourceKind | ConfiguredRange)[];
  readonly except: readonly Cidr[];
  readonly probe: readonly Probe[];
  readonly out?: string;
  readonly randomFully: boolean;
  /** Whether control-plane nodes are included. */
  readonly controlPlane: boolean;
  /** On Google Cloud, a backfill restarts nodes that need a reboot. */
  readonly restart?: { readonly maxUnavailable: 1 };
}

export interface Config {
  readonly clusters: readonly ClusterConfig[];
}

/** Returns the configured route sources, without the ranges of cidr entries. */
export const configuredKinds = ({ masquerade }: ClusterConfig): RouteSourceKind[] => [
  ...new Set(masquerade.filter((entry) => typeof entry === 'string')),
];

/** Returns the kinds of routes that a route source in the config includes. */
export const kindsOf = (source: RouteSourceKind): readonly RouteSourceKind[] =>
  source === 'peerings' ? ['peerings', 'peering-transit'] : [source];

/** Returns every kind of route to which the cluster masquerades traffic. */
export const requestedKinds = (cluster: ClusterConfig): RouteSourceKind[] => [
  ...new Set(configuredKinds(cluster).flatMap(kindsOf)),
];

/** The settings of a cluster without an entry in the config: nothing is masqueraded. */
const emptyClusterConfig = (name: string): ClusterConfig => ({
  name,
  pods: [],
  services: [],
  masquerade: [],
  except: [],
  probe: [],
  randomFully: false,
  controlPlane: true,
});

/** Returns the config entry with this name, or else the `*` entry. */
export function clusterConfig(config: Config, name: string): ClusterConfig | undefined {
  const findEntry = (wanted: string) => config.clusters.find((cluster) => cluster.name === wanted);
  return findEntry(name) ?? findEntry('*');
}

/** Returns the config for a node. For a node with no cluster or with several clusters, nothing is masqueraded. */
export function nodeConfig(config: Config, { clusters }: Pick<Node, 'clusters'>): ClusterConfig {
  const [name = '', ...others] = clusters;
  const isClear = name !== '' && others.length === 0;
  return (isClear ? clusterConfig(config, name) : undefined) ?? emptyClusterConfig(clusters.join(', '));
}

/** An error in peermasq.yaml. Lines and columns are counted from 1. */
export interface FieldError {
  readonly line: number;
  readonly column: number;
  /** `clusters.frontend.pods[0]` */
  readonly path: string;
  readonly message: string;
}

/** Contains all errors in a config. */
export class ConfigError extends PermanentError {
  readonly errors: readonly FieldError[];

  constructor(errors: readonly FieldError[]) {
    const list = errors.map(({ line, column, path, message }) => `  ${line}:${column} ${path}: ${message}`);
    super(
      'bad-config',
      `peermasq.yaml has ${errors.length} ${errors.length === 1 ? 'error' : 'errors'}:\n${list.join('\n')}`,
      { advice: 'Fix all listed lines. No rules are planned until the config is valid.' },
    );
    this.errors = errors;
  }
}

/**
 * Parses peermasq.yaml.
 * @throws ConfigError with all errors together
 */
export function parseConfig(text: string): Config {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const syntaxErrors = document.errors.map(({ pos, message }): FieldError => ({
    ...position(lines, pos[0]),
    path: 'YAML',
    message,
  }));
  // The rest of the document can be checked after a duplicate key, but not after any other syntax error.
  if (document.errors.some(({ code }) => code !== 'DUPLICATE_KEY')) throw new ConfigError(syntaxErrors);
  const { data, error } = configSchema.safeParse(toValue(document));
  if (!data || syntaxErrors.length > 0) {
    const source = { document, lines };
    const fieldErrors = (error?.issues ?? []).flatMap((issue) => toFieldErrors(issue, source));
    const errors = [...syntaxErrors, ...fieldErrors];
    throw new ConfigError(errors.toSorted((a, b) => a.line - b.line || a.column - b.column));
  }
  return { clusters: Object.entries(data.clusters).map(toClusterConfig) };
}

type ClusterEntry = [name: string, settings: z.output<typeof configSchema>['clusters'][string]];

function toClusterConfig([name, settings]: ClusterEntry): ClusterConfig {
  const { 'random-fully': randomFully, 'control-plane': controlPlane, ...rest } = settings;
  return definedOnly({ name, randomFully, controlPlane, ...rest });
}

function toValue(document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw new ConfigError([{ line: 1, column: 1, path: 'YAML', message: messageOf(cause) }]);
  }
}

interface Source {
  readonly document: Document;
  readonly lines: LineCounter;
}

function toFieldErrors(issue: z.core.$ZodIssue, source: Source): FieldError[] {
  const errorAt = (path: readonly PropertyKey[], message: string): FieldError => ({
    ...position(source.lines, offsetOf(source.document, path)),
    path: printPath(path) || '(root)',
    message,
  });
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => errorAt([...issue.path, key], 'unknown setting'));
    case 'invalid_key':
      return issue.issues.map(({ message }) => errorAt(issue.path, message));
    case 'invalid_union': {
      // Report only the issues of the alternative that the user intended. A mapping is assumed to be a cidr entry.
      const [kindIssues = [], rangeIssues = []] = issue.errors;
      const isRange = isMap(source.document.getIn(issue.path as unknown[], true));
      return (isRange ? rangeIssues : kindIssues).flatMap((inner) =>
        toFieldErrors({ ...inner, path: [...issue.path, ...inner.path] }, source),
      );
    }
    default:
      return [errorAt(issue.path, issue.message)];
  }
}

function position(lines: LineCounter, offset: number): { line: number; column: number } {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(line, 1), column: Math.max(col, 1) };
}

/** Returns the offset of the value at a path, or of the closest existing parent if there is no such value. */
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
