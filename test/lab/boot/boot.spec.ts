import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { resolve } from 'node:path';
import { readFileSync } from 'node:fs';
import { openGoogleCloud, type GoogleCloudLab } from '../gcp/lab';
import type { MetadataServer } from '../gcp/metadata';
import { addVm, setMetadata, type Vm } from '../gcp/state';
import { buildNetworks, type Networks } from '../networks';
import { gcpPeering } from '../topologies';
import { composeStartupScript } from '../../../shared/gcp/startup-script';
import { makeBootedNode, type BootedNode } from './node';

const program = readFileSync('shared/node/peermasq.sh', 'utf8');
let google: GoogleCloudLab, networks: Networks, node: BootedNode, vm: Vm, server: MetadataServer;
beforeEach(async () => {
  [google, networks] = await Promise.all([
    openGoogleCloud(),
    buildNetworks(gcpPeering, { managementAddress: '169.254.169.254' }),
  ]);
  vm = addVm(google.cloud, {});
  server = await google.metadataServer(vm, { host: '169.254.169.254', port: 80 });
  node = await makeBootedNode(networks.nodeHost, resolve(process.env['PEERMASQ_IMAGE'] ?? ''));
}, 60000);
afterEach(async () => {
  await node.close();
  await networks.close();
  await google.close();
}, 60000);
test('boots', async () => {
  const t = Date.now();
  setMetadata(google.cloud, vm, 'startup-script', composeStartupScript('#!/bin/sh\necho hello from script; exit 3\n'));
  setMetadata(google.cloud, vm, 'peermasq-program', program);
  setMetadata(google.cloud, vm, 'enable-guest-attributes', 'TRUE');
  setMetadata(google.cloud, vm, 'peermasq-ruleset', 'peermasq/1\ngeneration 1\nsource 10.132.0.0/14\nmasquerade 10.193.0.0/16 backend-vpc\n');
  await node.boot();
  console.log('booted', Date.now() - t);
  console.log(await node.journal('google-startup-scripts'), await node.journal('google-guest-agent'), await node.journal('peermasq-watch'));
  console.log(await node.run(['systemctl', '--no-pager', 'status']), (await node.run(['systemctl', '--failed', '--no-pager'])).stdout);
  console.log(vm.guestAttributes, server.requests, await networks.nodeHost.run(['iptables-save', '-t', 'nat']));
  const t2 = Date.now();
  await node.powerOff();
  console.log('off', Date.now() - t2);
  expect(1).toBe(1);
}, 90000);
