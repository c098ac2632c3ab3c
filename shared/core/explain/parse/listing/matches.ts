import { form, option, type Form } from './forms';

const tcpFlags = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG'] as const;

/** Parses TCP flags, which are a number with `-n` and otherwise names. */
function flagNames(text: string): string | undefined {
  if (!text.startsWith('0x')) return text;
  const bits = Number(text);
  if (!(bits < 2 ** tcpFlags.length)) return undefined;
  return tcpFlags.filter((_, bit) => (bits >> bit) % 2 === 1).join(',') || 'NONE';
}

/** `spt:1024 dpts:!80:90 flags:0x17/0x02`. */
const transportForms: readonly Form[] = [
  form(/^([sd])pts?:(!?)(\S+)/, ([side, not, ports]) => option(`--${side}port`, ports, not)),
  form(/^flags:(!?)([^\s/]+)\/(\S+)/, ([not, mask = '', set = '']) => {
    const compared = flagNames(mask);
    const required = flagNames(set);
    if (compared === undefined || required === undefined) return undefined;
    return [...option('--tcp-flags', compared, not), required];
  }),
  form(/^option=(!?)(\d+)/, ([not, number]) => option('--tcp-option', number, not)),
];

const addrtypeForms: readonly Form[] = [
  form(/^(src|dst)-type (!?)([A-Z,]+)(?= |$)/, ([side, not, types]) => option(`--${side}-type`, types, not)),
  form(/^limit-(in|out)(?= |$)/, ([direction]) => [`--limit-iface-${direction}`]),
];

const statisticForms: readonly Form[] = [
  form(/^(! )?(probability|every) (\S+)/, ([not, name, value]) => option(`--${name}`, value, not)),
  form(/^packet (\d+)/, ([packet]) => option('--packet', packet)),
];

const icmpModule = (prefix = ''): string => (prefix === '' ? 'icmp' : 'icmp6');
const icmpOption = (prefix = ''): string => (prefix === '' ? '--icmp-type' : '--icmpv6-type');

const icmpForms: readonly Form[] = [
  form(
    /^(ipv6-)?icmp ?(!?)type (\d+)(?: codes? (\d+)(?:-(\d+))?)?(?= |$)/,
    ([prefix, not, type = '', first = '', last = first]) => {
      const isAnyCode = first === '' || (first === '0' && last === '255');
      if (!isAnyCode && last !== '' && last !== first) return undefined;
      const value = isAnyCode ? type : `${type}/${first}`;
      return ['-m', icmpModule(prefix), ...option(icmpOption(prefix), value, not)];
    },
  ),
  form(/^(ipv6-)?icmp (!?)([a-z][a-z-]*)(?= |$)/i, ([prefix, not, name]) => [
    '-m',
    icmpModule(prefix),
    ...option(icmpOption(prefix), name, not),
  ]),
];

/** The matches of iptables, as `iptables -L` prints them after the addresses of a rule. */
export const matchForms: readonly Form[] = [
  form(/^\/\* (.*?) ?\*\/(?= |$)/, ([comment]) => ['-m', 'comment', ...option('--comment', comment)]),
  form(/^(tcp|udp|sctp|dccp|udplite)(?= |$)/, ([protocol = '']) => ['-m', protocol], transportForms),
  form(/^multiport (dports|sports|ports) +(!?) ?(\S+)/, ([name, not, ports]) => [
    '-m',
    'multiport',
    ...option(`--${name}`, ports, not),
  ]),
  ...icmpForms,
  form(/^(mark|connmark) match +(! ?)?(\S+)/i, ([module = '', not, value]) => [
    '-m',
    module.toLowerCase(),
    ...option('--mark', value, not),
  ]),
  form(/^ADDRTYPE match(?= |$)/, () => ['-m', 'addrtype'], addrtypeForms),
  form(/^(source|destination) IP range (! )?(\S+)/, ([side, not, range]) => [
    '-m',
    'iprange',
    ...option(side === 'source' ? '--src-range' : '--dst-range', range, not),
  ]),
  form(
    /^(! )?match-set (\S+) (\S+)/,
    ([not, name, sides = '']) => ['-m', 'set', ...option('--match-set', name, not), sides],
    [form(/^return-nomatch(?= |$)/, () => ['--return-nomatch'])],
  ),
  form(/^(! )?state ([A-Z,]+)(?= |$)/, ([not, states]) => ['-m', 'state', ...option('--state', states, not)]),
  form(
    /^(! ?)?(ct(?:state|proto|(?:orig|repl)(?:src|dst)(?:port)?|status|expire|dir)) (\S+)/,
    ([not, name, value]) => ['-m', 'conntrack', ...option(`--${name}`, value, not)],
  ),
  form(
    /^statistic mode (random|nth)(?= |$)/,
    ([mode]) => ['-m', 'statistic', ...option('--mode', mode)],
    statisticForms,
  ),
  form(/^limit: avg (\S+) burst \d+/, ([rate]) => ['-m', 'limit', ...option('--limit', rate)]),
  form(/^(! )?owner ([UG]ID) match (\S+)/, ([not, id = '', value]) => [
    '-m',
    'owner',
    ...option(`--${id.toLowerCase()}-owner`, value, not),
  ]),
];
