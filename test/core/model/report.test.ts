import { expect, test } from '@jest/globals';
import { formatReadBy, parseReport } from '../../../shared/core/model/report';
import { latestFormat } from '../../../shared/core/model/rule-set';
import { makeReport } from '../../lab/node-report';

test.each([
  ['text that is not JSON', 'bash: not found'],
  ['another JSON document', '{"result":"well","probes":[1]}'],
])('parseReport rejects %s with an error that has only one line', (_, text) => {
  expect(() => parseReport(text)).toThrow(/^The node returned .*, which is not a peermasq report: .+$/);
});

const parse = (changes: object) => parseReport(JSON.stringify({ ...makeReport(undefined), ...changes }));

test('a report from an old node program has no details and implies format 1', () => {
  const report = parse({ format: undefined });
  expect({ ...report, format: latestFormat }).toEqual(makeReport(undefined));
  expect(formatReadBy(report)).toBe(1);
});

test('a report contains the basis of its verdict', () => {
  const details = {
    format: 2,
    program: '0123456789ab',
    steered: true,
    basis: ['rules', 'pods 3/3'],
    code: 'paths-foreign-address',
    paths: [
      { from: '100.64.0.20', to: '10.193.0.3', dev: 'eth1', address: '100.64.0.10', ok: false },
      { from: '100.64.0.21', to: '10.193.0.3', dev: 'eth0', address: null, ok: true },
    ],
    ports: [{ to: '10.193.0.3:5432', used: 1200, range: 28232 }],
  };
  const report = parse(details);
  expect(report).toMatchObject(details);
  expect(formatReadBy(report)).toBe(2);
});

test('a probe or path in a report needs no source address', () => {
  const details = {
    probes: [{ to: '10.193.0.3:80', from: null, reached: false }],
    paths: [{ from: null, to: '10.193.0.3', dev: 'eth0', address: '10.209.0.2', ok: true }],
  };
  expect(parse(details)).toMatchObject(details);
});

test.each<[string, object]>([
  ['a code', { code: 'quantum-nat' }],
  ['a format', { format: 7 }],
  ['a field', { weather: 'rainy' }],
])('a report is readable even though it contains %s, which only later node programs send', (_, changes) => {
  expect(parse(changes)).toMatchObject({ result: 'applied', proven: true });
});

test.each<[string, unknown]>([
  ['format', 'two'],
  ['format', 0],
  ['program', 'latest'],
  ['steered', 'yes'],
  ['basis', Array(7).fill('rules')],
  ['code', { text: 'ebpf' }],
  ['paths', [{ from: '10.0.0.1' }]],
  ['ports', Array(4).fill({ to: '10.193.0.3:5432', used: 1, range: 2 })],
])('an unreadable %s is left out of the parsed report: %j', (field, value) => {
  const report = parse({ [field]: value });
  expect(report).toHaveProperty('proven', true);
  expect(report).toHaveProperty(field, undefined);
});
