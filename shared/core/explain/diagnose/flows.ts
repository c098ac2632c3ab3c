import { groupBy } from '../../util/collections';
import type { TrackedFlow } from '../parse/conntrack';
import { formatAddress } from '../ranges';
import type { Packet } from '../simulate/packet';
import type { Snapshot } from '../snapshot';

/** Describes the connections of the packet's source that conntrack tracks now, by the source that the peer sees. */
export function describeFlows({ flows }: Snapshot, packet: Packet): string[] {
  const own = flows.filter(
    ({ family, source }) => family === packet.source.family && source === packet.source.value,
  );
  if (own.length === 0) return [];
  const toDestination = own.filter(({ destination }) => destination === packet.destination.value);
  const others = own.filter(({ destination }) => destination !== packet.destination.value);
  const isHanging = toDestination.some(({ hasReplies }) => !hasReplies);
  return [
    ...describeGroup(toDestination, packet, `to ${packet.destination.text}`),
    ...describeGroup(others, packet, 'to other destinations'),
    ...(isHanging ? [describeHanging(packet)] : []),
  ];
}

function describeGroup(flows: readonly TrackedFlow[], { source }: Packet, to: string): string[] {
  return [...groupBy(flows, ({ replyDestination }) => replyDestination)].map(([seen, group]) => {
    const count = `${group.length} tracked connection${group.length === 1 ? '' : 's'} from ${source.text} ${to}`;
    const answered = group.filter(({ hasReplies }) => hasReplies).length;
    return `${count} left with source ${formatAddress(source.family, seen)}, ${answered} of them with replies.`;
  });
}

/** A connection keeps the translation of its first packet, also when that packet is sent again. */
function describeHanging({ source, destination }: Packet): string {
  const family = source.family === 6 ? ' -f ipv6' : '';
  return `Connections keep their translation when rules change. To let hanging ones start again, run \`conntrack -D${family} -s ${source.text} -d ${destination.text}\`.`;
}
