import type { Line } from './input';

/** Output that people send in place of rules, and what it is. */
const lookalikes: readonly (readonly [sign: RegExp, description: string])[] = [
  [/^(?:NAMESPACE +)?NAME +READY +STATUS +RESTARTS/, 'the output of `kubectl get pods`'],
  [/^NAME +STATUS +ROLES +AGE/, 'the output of `kubectl get nodes`'],
  [/^(?:NAMESPACE +)?NAME +TYPE +CLUSTER-IP/, 'the output of `kubectl get services`'],
  [
    /^(?:NAMESPACE +)?NAME +(?:ENDPOINTS|DESIRED|READY|DATA|AGE|CLASS|ADDRESSTYPE)\b/,
    'the output of `kubectl get`',
  ],
  [/^Name: +\S+$|^Events: +<none>$/, 'the output of `kubectl describe`'],
  [/^(?:apiVersion|kind): \S/, 'a Kubernetes manifest'],
  [/^Kernel IP routing table$|^Destination +Gateway +Genmask/, 'the output of `route` or `netstat -r`'],
  [/^Active Internet connections|^Proto +Recv-Q/, 'the output of `netstat`'],
  [/^(?:Netid +)?State +Recv-Q/, 'the output of `ss`'],
  [/^\S+: flags=\d+<|^\S+ +Link encap:/, 'the output of `ifconfig`'],
  [/^(?:\S+ )?\([\d.]+\) at [\da-f:]{17}|^[\d.]+ dev \S+ lladdr /, 'the output of `arp` or `ip neigh`'],
  [/^PING \S+ \(|^\d+ bytes from /, 'the output of `ping`'],
  [/^trace(?:route|path) to |^ *1\?: \[LOCALHOST\]/, 'the output of `traceroute`'],
  [/^curl: \(\d+\)|^\* +Trying [\d.[]/, 'the output of `curl`'],
  [/^; <<>> DiG /, 'the output of `dig`'],
  [/^\d\d:\d\d:\d\d\.\d+ (?:\S+ +(?:In|Out) +)?IP6? /, 'the output of `tcpdump`'],
  [/^\[ *\d+\.\d{6}\] /, 'the kernel log'],
  [/^(?:ipv[46] +\d+ +)?(?:tcp|udp|icmp) +\d+ +\d+ (?:\[?[A-Z_]+\]? )?src=/, 'the output of `conntrack -L`'],
  [/^IP Virtual Server version/, 'the output of `ipvsadm`'],
  [/^Bridge table: /, 'the output of `ebtables`'],
  [/^Status: (?:in)?active$/, 'the output of `ufw status`'],
  [/^(?:KVStore|Cilium): +(?:Ok|Disabled)/, 'the output of `cilium status`'],
  [/^clusters:$|^masquerade:$/, 'a peermasq.yaml'],
  [/^(?:sudo )?ip6?tables(?:-nft|-legacy)? .*(?:-A|-I|--append|--insert) /, 'commands that add rules'],
  [/<!doctype html|<html/i, 'a web page'],
  [/(?:ip6?tables|nft)\S*: (?:command )?not found/, 'an error: the program is not installed'],
  [/Permission denied|Operation not permitted|you must be root/, 'an error: the command needs root'],
  [/^(?:error|Error from server)\b.*(?:kubectl|pods?|resource|forbidden)/i, 'an error of `kubectl`'],
  // eslint-disable-next-line no-control-regex
  [/[\u0000-\u0008\ufffd]{2}/, 'a binary file'],
];

/** More lines than this are not searched. */
const searchedLines = 200;

/** What input without rules looks like, with the line that shows it. */
export interface Lookalike {
  readonly line: Line;
  readonly description: string;
}

export function findLookalike(lines: readonly Line[]): Lookalike | undefined {
  for (const line of lines.slice(0, searchedLines)) {
    const found = lookalikes.find(([sign]) => sign.test(line.text.trim()));
    if (found) return { line, description: found[1] };
  }
  return undefined;
}
