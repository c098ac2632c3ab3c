import { createHash } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import * as z from 'zod';
import { CidrError, compareCidrs, parseAddress, parseCidr, toCidr, type Address, type Cidr } from './cidr';
import { definedOnly } from '../util/collections';
import { messageOf, PermanentError } from './errors';

/** A range, and the name that is the comment of its rule. */
export interface NamedCidr {
  readonly cidr: Cidr;
  readonly name: string;
}

/** A TCP service to which the node connects as a pod would, to prove that the rules work. */
export interface Probe {
  readonly address: Address;
  readonly port: number;
}

/** The complete desired state of one node. */
export interface RuleSet {
  /** Milliseconds since the epoch. A node refuses a rule set whose generation is older than the one in force. */
  readonly generation: number;
  readonly randomFully: boolean;
  /** The interface through which masqueraded traffic leaves. If absent, any interface. */
  readonly out?: string;
  /**
   * Whether the node may send pods' packets to these destinations through its primary interface, if the pods' own
   * interfaces have addresses that the peer cannot reply to. Requires `sources`.
   */
  readonly isSteered?: boolean;
  /** The pod ranges. If empty, packets from any source are masqueraded. */
  readonly sources: readonly Cidr[];
  readonly exemptions: readonly NamedCidr[];
  readonly destinations: readonly NamedCidr[];
  readonly probes: readonly Probe[];
}

/** More than the difference between any two clocks of functions or operators. */
const clockSkewMs = 3_600_000;

/** Whether a rule set was planned with a clock that was wrong, so that rule sets planned now cannot replace it. */
export const isFromFuture = (generation: number, current: number): boolean =>
  generation - current > clockSkewMs;

export const namePattern = /^[A-Za-z0-9._:/@-]{1,63}$/;
export const interfacePattern = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,15}$/;

/**
 * Converts a name from the cloud to a valid name: replaces invalid characters with `-` and truncates the name to 63
 * characters.
 */
export function toName(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9._:/@-]/g, '-').slice(0, 63) || '-';
}

const probePattern = /^(?:\[([0-9a-f:.]+)\]|([0-9.]+)):([1-9][0-9]{0,4})$/;

/** Parses `10.193.0.3:5432` or `[fd00::1]:5432`. @throws CidrError */
export function parseProbe(text: string): Probe {
  const [, v6, v4, port] = probePattern.exec(text) ?? [];
  const address = v6 ?? v4;
  if (address === undefined || Number(port) > 65535 || (v6 !== undefined && !v6.includes(':'))) {
    throw new CidrError(
      `invalid probe ${JSON.stringify(text)}: expected ADDRESS:PORT, such as 10.193.0.3:5432 or [fd00::1]:5432`,
    );
  }
  return { address: parseAddress(address), port: Number(port) };
}

export function printProbe({ address, port }: Probe): string {
  return address.family === 6 ? `[${address.text}]:${port}` : `${address.text}:${port}`;
}

const byCidr = (a: NamedCidr, b: NamedCidr) => compareCidrs(a.cidr, b.cidr);

/** Returns the lines of the rule set in canonical order, without the header and the generation. */
export function ruleSetLines({
  randomFully,
  out,
  isSteered = false,
  sources,
  exemptions,
  destinations,
  probes,
}: RuleSet): string[] {
  return [
    ...(randomFully ? ['option random-fully'] : []),
    ...(out === undefined ? [] : [`option out ${out}`]),
    ...(isSteered ? ['option steer'] : []),
    ...sources.toSorted(compareCidrs).map(({ text }) => `source ${text}`),
    ...exemptions.toSorted(byCidr).map(({ cidr, name }) => `exempt ${cidr.text} ${name}`),
    ...destinations.toSorted(byCidr).map(({ cidr, name }) => `masquerade ${cidr.text} ${name}`),
    ...probes
      .toSorted((a, b) => compareCidrs(toCidr(a.address), toCidr(b.address)) || a.port - b.port)
      .map((probe) => `probe ${printProbe(probe)}`),
  ];
}

/** The rule set formats, oldest first. A node program reads its own format and all earlier formats. */
export const ruleSetFormats = [1, 2] as const;
export type RuleSetFormat = (typeof ruleSetFormats)[number];
export const latestFormat = 2 satisfies RuleSetFormat;

/**
 * Returns the oldest format that can express the rules. Rule sets without new features therefore keep their bytes and
 * IDs.
 */
export const formatOf = ({ isSteered = false }: RuleSet): RuleSetFormat => (isSteered ? 2 : 1);

const headerFor = (format: RuleSetFormat): string => `peermasq/${format}`;
const headers = ruleSetFormats.map(headerFor);
const joinLines = (all: readonly string[]): string => all.map((line) => `${line}\n`).join('');

/** Returns the canonical text, which is the form that nodes receive. */
export function printRuleSet(ruleSet: RuleSet): string {
  return joinLines([
    headerFor(formatOf(ruleSet)),
    `generation ${ruleSet.generation}`,
    ...ruleSetLines(ruleSet),
  ]);
}

/** Returns the sha256 hash (hex) of the canonical text without the generation. Equal rules have equal IDs. */
export function ruleSetId(ruleSet: RuleSet): string {
  return createHash('sha256')
    .update(joinLines([headerFor(formatOf(ruleSet)), ...ruleSetLines(ruleSet)]))
    .digest('hex');
}

/**
 * Compresses the text with gzip and encodes it as one line of base64, for channels with a size limit. Every reader
 * accepts both forms.
 */
export function packRuleSet(ruleSet: RuleSet): string {
  return gzipSync(printRuleSet(ruleSet), { level: 9 }).toString('base64');
}

/** The node program has the same limit. */
const unpackedLimitBytes = 2 << 20;

function unpack(text: string): string {
  if (!text.startsWith('H4sI')) return text;
  return gunzipSync(Buffer.from(text, 'base64'), { maxOutputLength: unpackedLimitBytes }).toString('latin1');
}

const name = z.string().regex(namePattern);
const interfaceName = z.string().regex(interfacePattern).optional();

/**
 * Parses a rule set in plain or packed form.
 * @throws PermanentError if the text is invalid or not canonical, because equal rules must have equal texts and so
 * equal IDs
 */
export function parseRuleSet(encoded: string): RuleSet {
  try {
    const text = unpack(encoded.trim());
    const ruleSet = parseLines(text.split('\n').filter(Boolean));
    if (ruleSet.isSteered && ruleSet.sources.length === 0) throw new Error('option steer needs a source');
    if (printRuleSet(ruleSet).trim() !== text.trim()) throw new Error('the text is not in canonical form');
    return ruleSet;
  } catch (cause) {
    throw new PermanentError(
      'unreadable-rule-set',
      `Not a rule set in format ${headers.join(' or ')}: ${messageOf(cause)}`,
      { advice: 'Run a backfill, which pushes a new rule set to the node.', cause },
    );
  }
}

function parseLines([first, second, ...rest]: readonly string[]): RuleSet {
  if (!headers.includes(first ?? ''))
    throw new Error(`expected ${headers.join(' or ')} as line 1, got ${JSON.stringify(first ?? '')}`);
  const [, generation] = /^generation ([1-9][0-9]{0,14})$/.exec(second ?? '') ?? [];
  if (generation === undefined)
    throw new Error(`expected "generation NUMBER" as line 2, got ${JSON.stringify(second ?? '')}`);
  const fields = rest.map((line) => line.split(' '));
  const valuesOf = (kind: string) => fields.filter(([word]) => word === kind).map(([, ...values]) => values);
  const namedCidrs = (kind: string): NamedCidr[] =>
    valuesOf(kind).map(([cidr = '', text]) => ({ cidr: parseCidr(cidr), name: name.parse(text) }));
  const options = valuesOf('option');
  const hasOption = (word: string) => options.some(([option]) => option === word);
  return definedOnly({
    generation: Number(generation),
    randomFully: hasOption('random-fully'),
    out: interfaceName.parse(options.find(([option]) => option === 'out')?.[1]),
    isSteered: hasOption('steer') || undefined,
    sources: valuesOf('source').map(([cidr = '']) => parseCidr(cidr)),
    exemptions: namedCidrs('exempt'),
    destinations: namedCidrs('masquerade'),
    probes: valuesOf('probe').map(([probe = '']) => parseProbe(probe)),
  });
}
