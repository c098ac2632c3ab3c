import { expect, test } from '@jest/globals';
import { savedSets } from '../../../../shared/core/explain/parse/ipset-list';

const saved = (...texts: readonly string[]) =>
  savedSets(texts.map((text, index) => ({ text, number: index + 1 }))).map(({ text }) => text);

const header = [
  'Name: pods',
  'Type: hash:net',
  'Revision: 6',
  'Header: family inet hashsize 1024 maxelem 65536',
];

test('ipset list is read as ipset save prints it', () => {
  expect(
    saved(
      ...header,
      'Size in memory: 504',
      'References: 1',
      'Number of entries: 2',
      'Members:',
      '192.168.0.0/16',
      '192.168.7.0/24 nomatch timeout 500',
      '',
      'Name: both',
      'Type: list:set',
      'Header: size 8',
      'Number of entries: 1',
      'Members:',
      'pods',
      '',
      'Name: services',
      'Type: hash:ip,port',
      'Header: family inet6 hashsize 1024 maxelem 65536',
      'Members:',
      'fd00::1,tcp:80',
    ),
  ).toEqual([
    'create pods hash:net family inet hashsize 1024 maxelem 65536',
    'add pods 192.168.0.0/16',
    'add pods 192.168.7.0/24 nomatch timeout 500',
    'create both list:set size 8',
    'add both pods',
    'create services hash:ip,port family inet6 hashsize 1024 maxelem 65536',
    'add services fd00::1,tcp:80',
  ]);
});

test.each([
  ['without its members (-terse)', ['Number of entries: 1']],
  ['with too few members', ['Number of entries: 2', 'Members:', '192.168.0.0/16']],
])('a set %s is left out', (_, rest) => {
  expect(saved(...header, ...rest)).toEqual([]);
});

test('a set without entries is empty', () => {
  expect(saved(...header, 'Number of entries: 0', 'Members:')).toEqual([
    'create pods hash:net family inet hashsize 1024 maxelem 65536',
  ]);
});
