import {
  describePortUse,
  fewPortsLeftPercent,
  parseReport,
  usedPercent,
  type PortUse,
} from '../model/report';
import { printProbe } from '../model/rule-set';
import { tryParse } from '../util/functional';
import type { Findings } from './findings';

/** Returns the numbers of source ports in use from the node's last report, which is part of its snapshot. */
export function sourcePortsIn(snapshot: string): readonly PortUse[] {
  const [, report] = /^# peermasq: report\n# +(\{.*\})$/m.exec(snapshot) ?? [];
  return (report === undefined ? undefined : tryParse(() => parseReport(report)))?.ports ?? [];
}

/** Returns a warning if source ports for new connections may soon run out, otherwise an empty list. */
export function sourcePortsEvidence({ ports = [], rules, requested, destination }: Findings): string[] {
  const port = rules instanceof Error ? undefined : rules.destinations[0]?.port;
  const to = printProbe({ address: destination, port: port ?? requested.port });
  return ports
    .filter((use) => use.to === to && usedPercent(use) >= fewPortsLeftPercent)
    .map(
      (use) =>
        `${describePortUse(use)} Reuse connections, use more nodes or destination addresses, or add routes to the pods at the peer.`,
    );
}
