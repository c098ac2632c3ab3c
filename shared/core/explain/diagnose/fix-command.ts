import type { Backend, BaseChain, Family } from '../model';
import { addressBits, formatAddress } from '../ranges';
import { addressTexts, type Insertion } from './insertion';
import { iptablesProgram, isIptablesChain, isManagedByIptables } from './program';

const identifier = /^[A-Za-z_][A-Za-z0-9_.-]{0,127}$/;

const ipFamily = (family: Family) => (family === 6 ? 'ip6' : 'ip');

/** The table for nodes without iptables. Tables of other programs stay as they are, because those rewrite them. */
const ownTable = 'manual-masquerade';

/** Returns the chain in which a rule for packets of this family masquerades them. It may not exist yet. */
export function masqueradeChain(backend: Backend, family: Family): BaseChain {
  const shared = { hook: 'postrouting', isNat: true, policy: 'accept' } as const;
  const families = [family];
  if (backend !== 'nft') {
    const table = { backend, name: 'nat', families, chains: new Map() };
    return { ...shared, table, chain: { name: 'POSTROUTING', rules: [] }, priority: 100 };
  }
  const nft = { family: ipFamily(family), name: ownTable };
  const table = { backend, name: `${nft.family} ${nft.name}`, nft, families, chains: new Map() };
  return { ...shared, table, chain: { name: 'postrouting', rules: [] }, priority: 99 };
}

/**
 * Returns the commands of a fix as one line for a shell. From the dump it includes only parsed addresses, and names
 * that are safe in a shell.
 * @returns undefined if a name is not safe, or if no program can add the rule without breaking the table for others
 */
export function formatFix(insertions: readonly Insertion[]): string | undefined {
  const commands = insertions.flatMap(commandsFor);
  return commands.includes(undefined) ? undefined : commands.join(' && ');
}

function commandsFor(insertion: Insertion): (string | undefined)[] {
  const { at } = insertion;
  if (isManagedByIptables(at.table) && !isIptablesChain(at.chain.name)) return [undefined];
  const program = iptablesProgram(at.table, insertion.family);
  return program === undefined ? nftCommands(insertion) : iptablesCommands(program, insertion);
}

function iptablesCommands(program: string, insertion: Insertion): string[] {
  const { at, verdict } = insertion;
  const table = at.table.nft?.name ?? at.table.name;
  const insert = `${program} -t ${table} -I ${at.chain.name} 1`;
  const source = cidrOf(insertion, formatAddress(insertion.family, insertion.source));
  const addresses = addressTexts(insertion).map((text) => cidrOf(insertion, text));
  if (verdict === 'masquerade') {
    const destination = iptablesDestination(insertion, addresses.join(','));
    return [`${insert} -s ${source} ${destination} -m addrtype ! --dst-type LOCAL -j MASQUERADE`];
  }
  const destination = iptablesDestination(insertion, addresses.join(','));
  const accept = `${insert} -s ${source} ${destination}${iptablesService(insertion)} -j ACCEPT`;
  if (!needsReplies(insertion)) return [accept];
  return [accept, `${insert} -d ${source} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`];
}

const iptablesDestination = ({ destination }: Insertion, text: string) =>
  destination.kind === 'current' ? `-d ${text}` : `-m conntrack --ctorigdst ${text}`;

function iptablesService({ service }: Insertion): string {
  if (!service) return '';
  const port = service.port === undefined ? '' : ` --dport ${service.port}`;
  return ` -p ${service.protocol}${port}`;
}

function nftCommands(insertion: Insertion): (string | undefined)[] {
  const { at, verdict, family } = insertion;
  const { table, chain } = at;
  if (!table.nft || !identifier.test(table.nft.name) || !identifier.test(chain.name)) return [undefined];
  const ip = ipFamily(family);
  const source = formatAddress(family, insertion.source);
  const matches = `${ip} saddr ${source} ${nftDestination(insertion)}`;
  if (verdict === 'masquerade') {
    const rule = `${matches} fib daddr type != local masquerade`;
    return [
      `nft 'add table ${table.name}; add chain ${table.name} ${chain.name} { type nat hook postrouting priority ${at.priority}; }; insert rule ${table.name} ${chain.name} ${rule}'`,
    ];
  }
  const insert = `nft insert rule ${table.name} ${chain.name}`;
  const accept = `${insert} ${nftQuote(`${matches}${nftService(insertion)} accept`)}`;
  if (!needsReplies(insertion)) return [accept];
  return [accept, `${insert} ${ip} daddr ${source} ct state established,related accept`];
}

/** Braces are special in a shell. */
const nftQuote = (rule: string) => (rule.includes('{') ? `'${rule}'` : rule);

function nftDestination(insertion: Insertion): string {
  const { destination, family } = insertion;
  const addresses = addressTexts(insertion);
  const [only] = addresses;
  if (destination.kind === 'original') return `ct original ${ipFamily(family)} daddr ${only}`;
  return `${ipFamily(family)} daddr ${addresses.length === 1 ? only : `{ ${addresses.join(', ')} }`}`;
}

function nftService({ service }: Insertion): string {
  if (!service) return '';
  const { protocol, port } = service;
  return port === undefined ? ` meta l4proto ${protocol}` : ` ${protocol} dport ${port}`;
}

/** Replies to a forwarded packet pass the same chain, and a policy that drops the packet drops them as well. */
const needsReplies = ({ at, verdict }: Insertion) => verdict === 'accept' && at.hook === 'forward';

const cidrOf = ({ family }: Insertion, address: string) => `${address}/${addressBits(family)}`;
