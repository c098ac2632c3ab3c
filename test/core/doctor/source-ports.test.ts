import { expect, test } from '@jest/globals';
import { parseAddress } from '../../../shared/core/model/cidr';
import { diagnose } from '../../../shared/core/doctor/diagnose';
import type { Findings } from '../../../shared/core/doctor/findings';
import { sourcePortsIn } from '../../../shared/core/doctor/source-ports';
import { makeReport } from '../../lab/node-report';
import { checkNamed, healthy } from './findings';

const range = 64_512;
const use = (to: string, percent: number) => ({ to, used: Math.ceil((percent * range) / 100), range });
const warning =
  "71 % of the node's source ports for 10.193.0.3:443 are in use. Reuse connections, use more nodes or destination addresses, or add routes to the pods at the peer.";

test.each<[string, Partial<Findings>, string[]]>([
  ['few ports left', { ports: [use('10.193.0.3:443', 71)] }, [warning]],
  ['enough ports left', { ports: [use('10.193.0.3:443', 69)] }, []],
  ['few ports left for another destination port', { ports: [use('10.193.0.3:80', 99)] }, []],
  ['few ports left for another address', { ports: [use('10.193.0.4:443', 99)] }, []],
  ['no report', {}, []],
])(
  'doctor warns about the source ports for this destination only when few are left: %s',
  (_, changes, warnings) => {
    const { checks, broken, verdict } = diagnose({ ...healthy, ...changes });
    expect(broken).toBeNull();
    expect(checkNamed(checks, 'masquerading').state).toBe('ok');
    expect(
      checkNamed(checks, 'masquerading').evidence.filter((line) => line.includes('source ports')),
    ).toEqual(warnings);
    expect(verdict.includes('source ports')).toBe(warnings.length > 0);
  },
);

test('when the connection is redirected, doctor checks the source ports for the new destination', () => {
  const requested = { address: parseAddress('10.193.9.9'), port: 80 };
  const { verdict } = diagnose({ ...healthy, requested, ports: [use('10.193.0.3:443', 71)] });
  expect(verdict).toContain(warning);
});

const report = JSON.stringify(makeReport(undefined, { ports: [use('10.193.0.3:443', 71)] }));

test.each([
  ['a snapshot with a report', `# peermasq: ruleset\n#   peermasq/1\n# peermasq: report\n#   ${report}\n`, 1],
  ['a snapshot without a report', '# peermasq: ip rule\n', 0],
  ['a report that cannot be read', '# peermasq: report\n#   {"result":"later"}\n', 0],
])('source ports are read from a snapshot that contains a valid report: %s', (_, snapshot, count) => {
  expect(sourcePortsIn(snapshot)).toHaveLength(count);
});
