import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { openCliHome, type CliHome } from '../../lab/cli-home';

let home: CliHome;
beforeAll(() => {
  home = openCliHome();
});
afterAll(() => {
  home.close();
});

test('validate lists the clusters of a valid config and exits with 0', async () => {
  home.write('peermasq.yaml', 'clusters: {shop: {masquerade: [peerings]}}');
  const { status, stdout } = await home.peermasq(['validate']);
  expect({ status, stdout }).toEqual({ status: 0, stdout: 'peermasq.yaml: 1 cluster, no errors: shop\n' });
});

const invalid = 'clusters:\n  shop:\n    pods: [10.0.0.1/8]\n    masquerade: [peering]\n';

test('validate reports all errors in an invalid config as FILE:LINE:COLUMN and exits with 1', async () => {
  const file = home.write('bad.yaml', invalid);
  const { status, stdout } = await home.peermasq(['validate', 'bad.yaml']);
  expect(status).toBe(1);
  expect(stdout).toContain(
    'bad.yaml:3:12: clusters.shop.pods[0]: invalid CIDR "10.0.0.1/8": it has host bits set',
  );
  expect(stdout).toContain(
    'bad.yaml:4:18: clusters.shop.masquerade[0]: invalid value "peering": expected peerings,',
  );
  expect(stdout).toMatch(/\n2 errors\n$/);
  const json = await home.peermasq(['validate', file, '-o', 'json']);
  expect(JSON.parse(json.stdout)).toMatchObject({ file, errors: [{ line: 3, column: 12 }, { line: 4 }] });
  const yaml = await home.peermasq(['validate', file, '--output', 'yaml']);
  expect(parse(yaml.stdout)).toEqual(JSON.parse(json.stdout));
});

test('validate reads a config from stdin, and prints no colours if the output is not a terminal', async () => {
  const { status, stdout } = await home.peermasq(['validate', '-'], { stdin: 'clusters: {}' });
  expect(status).toBe(0);
  expect(stdout).not.toContain('\u001b[');
});
