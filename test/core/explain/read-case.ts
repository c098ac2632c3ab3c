import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeInput } from '../../../shared/core/explain/parse/input';
import { parseSnapshot } from '../../../shared/core/explain/parse/snapshot';
import type { Packet } from '../../../shared/core/explain/simulate/packet';
import type { Snapshot } from '../../../shared/core/explain/snapshot';
import { parseAddress } from '../../../shared/core/model/cidr';

export interface CaseConnection {
  /** The name of a file in cases/, without `.txt`. */
  readonly input: string;
  readonly from: string;
  /** The destination, as ADDRESS:PORT. */
  readonly to: string;
}

/** Reads the input of a case, and returns it with the first packet of the connection. */
export function readCase({ input, from, to }: CaseConnection): { snapshot: Snapshot; packet: Packet } {
  const [destination = '', port] = to.split(/:(?=\d+$)/);
  const packet: Packet = {
    source: parseAddress(from),
    destination: parseAddress(destination),
    protocol: 'tcp',
    sourcePort: 40_000,
    destinationPort: Number(port),
    isFromNode: false,
  };
  return {
    snapshot: parseSnapshot(decodeInput(readFileSync(join(__dirname, 'cases', `${input}.txt`)))),
    packet,
  };
}
