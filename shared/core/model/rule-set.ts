import { createHash } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import * as z from 'zod';
import { CidrError, compareCidrs, parseAddress, parseCidr, toCidr, type Address, type Cidr } from './cidr';
import { messageOf, PermanentError } from './errors';

/** A range and why it is there; the name becomes the comment of its rule. */
export interface NamedCidr {
  readonly cidr: Cidr;
  readonly name: string;
}

/** A TCP service that the node connects to, to prove that pods can. */
export interface Probe {
  readonly address: Address;
  readonly port: number;
}

/** Everything one node must have in force. */
export interface RuleSet {
  /** Milliseconds since the epoch; a node refuses a generation older than the one in force. */
  readonly generation: number;
  readonly randomFully: boolean;
  /** The interface that masqueraded traffic leaves by; absent for any. */
  readonly out?: string;
  /** Pod ranges; none means any source. */
  readonly sources: readonly Cidr[];
  readonly exemptions: readonly NamedCidr[];
  readonly destinations: readonly NamedCidr[];
  readonly probes: readonly Probe[];
}

export const namePattern = /^[A-Za-z0-9._:/@-]{1,63}$/;
export const interfacePattern = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,15}$/;

/** A name from a cloud, made fit for the grammar: other characters become `-`, and it ends after 63. */
export function toName(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9._:/@-]/g, '-').slice(0, 63) || '-';
}

const probePattern = /^(?:\[([0-9a-f:.]+)\]|([0-9.]+)):([1-9][0-9]{0,4})$/;

/** Reads `10.193.0.3:5432` or `[fd00::1]:5432`. @throws CidrError */
export function parseProbe(text: string): Probe {
  const [, v6, v4, port] = probePattern.exec(text) ?? [];
  const address = v6 ?? v4;
  if (address === undefined || Number(port) > 65535 || (v6 !== undefined && !v6.includes(':'))) {
    throw new CidrError(
      `${JSON.stringify(text)} is not a probe; write ADDRESS:PORT, such as 10.193.0.3:5432 or [fd00::1]:5432`,
    );
  }
  return { address: parseAddress(address), port: Number(port) };
}

export function printProbe({ address, port }: Probe): string {
  return address.family === 6 ? `[${address.text}]:${port}` : `${address.text}:${port}`;
}

const byCidr = (a: NamedCidr, b: NamedCidr) => compareCidrs(a.cidr, b.cidr);

/** The lines that make up its identity: everything but the generation, in the order of the format. */
export function ruleSetLines({
  randomFully,
  out,
  sources,
  exemptions,
  destinations,
  probes,
}: RuleSet): string[] {
  return [
    ...(randomFully ? ['option random-fully'] : []),
    ...(out === undefined ? [] : [`option out ${out}`]),
    ...sources.toSorted(compareCidrs).map(({ text }) => `source ${text}`),
    ...exemptions.toSorted(byCidr).map(({ cidr, name }) => `exempt ${cidr.text} ${name}`),
    ...destinations.toSorted(byCidr).map(({ cidr, name }) => `masquerade ${cidr.text} ${name}`),
    ...probes
      .toSorted((a, b) => compareCidrs(toCidr(a.address), toCidr(b.address)) || a.port - b.port)
      .map((probe) => `probe ${printProbe(probe)}`),
  ];
}

const header = 'peermasq/1';
const joinLines = (all: readonly string[]): string => all.map((line) => `${line}\n`).join('');

/** The canonical text, as it travels to the node. */
export function printRuleSet(ruleSet: RuleSet): string {
  return joinLines([header, `generation ${ruleSet.generation}`, ...ruleSetLines(ruleSet)]);
}

/** What it says, whenever it was made: the sha256 (hex) of its canonical text without the generation. */
export function ruleSetId(ruleSet: RuleSet): string {
  return createHash('sha256')
    .update(joinLines([header, ...ruleSetLines(ruleSet)]))
    .digest('hex');
}

/** For channels with little room: gzip + base64 of the text, on one line. Every reader knows both forms. */
export function packRuleSet(ruleSet: RuleSet): string {
  return gzipSync(printRuleSet(ruleSet), { level: 9 }).toString('base64');
}

/** The same as the node program's. */
const unpackedLimitBytes = 2 << 20;

function unpack(text: string): string {
  if (!text.startsWith('H4sI')) return text;
  return gunzipSync(Buffer.from(text, 'base64'), { maxOutputLength: unpackedLimitBytes }).toString('latin1');
}

const name = z.string().regex(namePattern);

/**
 * Reads either form back.
 * @throws PermanentError unless it is canonical to the byte: another spelling of the same rules would have
 *   another id.
 */
export function parseRuleSet(encoded: string): RuleSet {
  const reject = (message: string, cause?: unknown): never => {
    throw new PermanentError(
      'unreadable-rule-set',
      `Not a rule set of the format ${header}: ${message}`,
      'Push the node again: a backfill writes a fresh rule set.',
      cause,
    );
  };
  try {
    const text = unpack(encoded.trim());
    const ruleSet = readLines(text.split('\n').filter(Boolean));
    return printRuleSet(ruleSet).trim() === text.trim()
      ? ruleSet
      : reject('its lines are not in canonical order');
  } catch (cause) {
    if (cause instanceof PermanentError) throw cause;
    return reject(messageOf(cause), cause);
  }
}

function readLines([first, second, ...rest]: readonly string[]): RuleSet {
  if (first !== header) throw new Error(`the first line is ${JSON.stringify(first ?? '')}`);
  const [, generation] = /^generation ([1-9][0-9]{0,15})$/.exec(second ?? '') ?? [];
  if (generation === undefined) throw new Error(`the second line is ${JSON.stringify(second ?? '')}`);
  const fields = rest.map((line) => line.split(' '));
  const of = (kind: string) => fields.filter(([word]) => word === kind).map(([, ...values]) => values);
  const named = (kind: string): NamedCidr[] =>
    of(kind).map(([cidr = '', text]) => ({ cidr: parseCidr(cidr), name: name.parse(text) }));
  const options = of('option');
  const out = options.find(([option]) => option === 'out')?.[1];
  return {
    generation: Number(generation),
    randomFully: options.some(([option]) => option === 'random-fully'),
    ...(out === undefined ? {} : { out: z.string().regex(interfacePattern).parse(out) }),
    sources: of('source').map(([cidr = '']) => parseCidr(cidr)),
    exemptions: named('exempt'),
    destinations: named('masquerade'),
    probes: of('probe').map(([probe = '']) => parseProbe(probe)),
  };
}
