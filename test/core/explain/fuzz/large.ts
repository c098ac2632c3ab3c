import { tryInput } from './fuzz';

/** One line of each form, repeated up to the size. */
const repeated: Readonly<Record<string, readonly [head: string, line: string]>> = {
  rules: [
    '*nat\n:POSTROUTING ACCEPT [0:0]\n:KUBE-SVC-ERIFXISQEP7F7OF4 - [0:0]\n',
    '-A KUBE-SVC-ERIFXISQEP7F7OF4 -m comment --comment "kube-system/kube-dns:dns-tcp -> 10.88.0.3:53" -m statistic --mode random --probability 0.50000000000 -j RETURN\n',
  ],
  'short rules': ['', '-A A -j B\n'],
  prose: ['', 'this is prose\n'],
  'empty lines': ['', '\n'],
  'one line': ['', 'x'],
  'open braces': ['', '{'],
  'nft text': ['table ip nat {\n', 'chain A { ip daddr 10.0.0.0/8 masquerade }\n'],
  listing: [
    'Chain POSTROUTING (policy ACCEPT 0 packets, 0 bytes)\n pkts bytes target     prot opt in     out     source               destination\n',
    '    0     0 MASQUERADE  all  --  *      *       172.17.0.0/16        !10.0.0.0/8\n',
  ],
  set: ['create a hash:net family inet\n', 'add a 10.1.2.0/24\n'],
  routes: ['*nat\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n', '10.1.2.0/24 via 10.0.0.1 dev eth0\n'],
  addresses: ['', '2: eth0    inet 10.0.0.2/16 scope global eth0\n'],
  prompts: ['', 'root@node:~# iptables-save\n'],
  quotes: ['*nat\n-A A -m comment --comment "', '\\"'],
};

/** The limit for 64 MB. */
const maxSeconds = 5;

/** Explains a packet with input of this size in every form. */
export function checkLargeInputs(megabytes: number): { lines: string[]; tooSlow: string[] } {
  const results = Object.entries(repeated).map(([name, [head, line]]) => {
    const size = megabytes * 1024 * 1024 - head.length;
    const input = Buffer.from(head + line.repeat(Math.floor(size / line.length)));
    const began = process.cpuUsage();
    const result = tryInput(input);
    const { user, system } = process.cpuUsage(began);
    return { name, result, seconds: (user + system) / 1e6 };
  });
  const isBad = ({ result, seconds }: (typeof results)[number]) =>
    seconds > maxSeconds || !['answer', 'error'].includes(result);
  return {
    lines: results.map(
      ({ name, result, seconds }) =>
        `${megabytes} MB of ${name}: ${result} after ${seconds.toFixed(1)} s of CPU time`,
    ),
    tooSlow: results.filter(isBad).map(({ name, result }) => `${name}: ${result}`),
  };
}
