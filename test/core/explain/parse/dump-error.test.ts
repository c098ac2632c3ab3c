import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { explain } from '../../../../shared/core/explain/explain';
import { DumpError } from '../../../../shared/core/explain/model';
import { parseSnapshot } from '../../../../shared/core/explain/parse/snapshot';
import { iptablesHeader, network, packet } from '../dump-builder';

const nestedChains = (count: number) => {
  const names = Array.from({ length: count }, (_, index) => `C${index}`);
  const calls = names.slice(1).map((name, index) => `-A ${name} -j C${index}`);
  return ['*nat', ...names.map((name) => `:${name} - [0:0]`), ...calls, 'COMMIT', ''].join('\n');
};

describe('text that is not a dump is rejected with a line number:', () => {
  test.each([
    ['nothing', '', 1],
    ['a web page', 'x\n<html>', 2],
    [
      'an unclosed quote',
      '*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -m comment --comment "a -j ACCEPT\nCOMMIT\n',
      3,
    ],
    ['a loop of chains', '*nat\n:A - [0:0]\n-A A -j A\nCOMMIT\n', 1],
    ['too many levels of chains, listed from the innermost', nestedChains(1000), 1],
    ['truncated JSON', '{"nftables": [{"table": {"family"', 1],
    ['other JSON', '{"items": []}', 1],
    ['a very long line', `*nat\n# \n:${'A'.repeat(70_000)}\nCOMMIT`, 3],
  ])('%s', (_, text, line) => {
    const parse = () => parseSnapshot(text);
    expect(parse).toThrow(DumpError);
    expect(parse).toThrow(`Line ${line} of the dump: expected `);
  });
});

describe('the error message for an invalid dump', () => {
  test.each([
    ['names what is missing', network, 'expected rules of iptables or nft, found: no rules'],
    ['does not treat a header as rules', iptablesHeader('iptables-nft-save'), 'found: no rules'],
    [
      'names the chain that calls itself',
      '*nat\n:A - [0:0]\n-A A -j A\nCOMMIT\n',
      'found: chain A, which calls itself',
    ],
    ['quotes the invalid line', 'hello world\n', 'found: hello world'],
    ['replaces control characters in the quoted line', 'x\u0007y\u202e\n', 'found: x\ufffdy\ufffd'],
  ])('%s', (_, dump, expected) => {
    expect(() => parseSnapshot(dump)).toThrow(expected);
  });

  test('comes with advice to collect everything with one script', () => {
    const { advice } = new DumpError({ line: 1, found: '', expected: '' });
    expect(advice).toMatch(/^[A-Z].*\.$/);
    expect(advice).toContain('`npx peermasq collect`');
  });
});

describe('an error says what the input looks like:', () => {
  test.each([
    [
      'NAME        READY   STATUS    RESTARTS   AGE\nweb-0       1/1     Running   0          3d\n',
      '`kubectl get pods`',
    ],
    ['NAME       STATUS   ROLES    AGE   VERSION\n', '`kubectl get nodes`'],
    ['apiVersion: v1\nkind: ConfigMap\n', 'a Kubernetes manifest'],
    ['Kernel IP routing table\nDestination     Gateway         Genmask\n', '`route`'],
    ['Netid State  Recv-Q Send-Q Local Address:Port\n', '`ss`'],
    ['eth0: flags=4163<UP,BROADCAST,RUNNING,MULTICAST>  mtu 1500\n', '`ifconfig`'],
    ['$ ping 10.57.0.10\nPING 10.57.0.10 (10.57.0.10) 56(84) bytes of data.\n', '`ping`'],
    ['IP Virtual Server version 1.2.1 (size=4096)\n', '`ipvsadm`'],
    ['sudo iptables -t nat -A POSTROUTING -s 10.88.0.0/16 -j MASQUERADE\n', 'commands that add rules'],
    ['$ iptables-save\nbash: iptables-save: command not found\n', 'not installed'],
    [
      '$ iptables-save\niptables-save v1.8.7 (legacy): Cannot initialize: Permission denied (you must be root)\n',
      'needs root',
    ],
    ['<!DOCTYPE html>\n<html>', 'a web page'],
    ['\u0000\u0001\u0002ELF', 'a binary file'],
  ])('%j', (dump, expected) => {
    expect(() => parseSnapshot(dump)).toThrow('but this looks like ');
    expect(() => parseSnapshot(dump)).toThrow(expected);
  });
});

test('a damaged dump is either explained or rejected with a DumpError', () => {
  const dumps = ['kubenet', 'calico', 'nft', 'eks'].map((name) =>
    readFileSync(join(__dirname, '..', 'dumps', `${name}.txt`), 'utf8'),
  );
  const damage = fc.record({
    dump: fc.constantFrom(...dumps),
    at: fc.nat(6000),
    removed: fc.nat(40),
    text: fc.string({ maxLength: 12 }),
  });
  fc.assert(
    fc.property(damage, ({ dump, at, removed, text }) => {
      try {
        explain(parseSnapshot(dump.slice(0, at) + text + dump.slice(at + removed)), packet);
      } catch (error) {
        expect(error).toBeInstanceOf(DumpError);
      }
    }),
    { numRuns: 500 },
  );
});
