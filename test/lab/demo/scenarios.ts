import { awsGcpVpn, awsPeering, gcpPeering } from '../topologies';
import { openAwsManualBackfill } from './aws-manual-backfill';
import { openAws } from './aws-event';
import { openGcp } from './gcp-event';
import { openGcpLateEvent } from './gcp-late-event';
import type { Scenario } from './scenario';

export const scenarios: readonly Scenario[] = [
  {
    name: 'gcp-peering',
    cloud: 'gcp',
    title: 'Google Cloud: two peered VPCs',
    story:
      'A pod asks a backend in the peered VPC. kubenet masquerades everything but 10.0.0.0/8, and the backend is in there.',
    topology: gcpPeering,
    open: openGcp,
  },
  {
    name: 'aws-peering',
    cloud: 'aws',
    title: 'AWS: a cluster beside the VPC with the database',
    story:
      'psql asks for a password on the node, and times out in a container. The kubelet masquerades everything but 10.0.0.0/8.',
    topology: awsPeering,
    open: openAws,
  },
  {
    name: 'aws-gcp-vpn',
    cloud: 'aws',
    title: 'AWS to Google Cloud, over a VPN',
    story:
      'A pod in AWS asks a backend in Google Cloud. The routers of the VPN know the ranges of the VPCs, not those of pods. The node was there before peermasq: doctor names the broken link, plan says what it would get, and a backfill by hand pushes that.',
    topology: awsGcpVpn,
    open: openAwsManualBackfill,
  },
];

/** Those that `--late` plays. */
export const lateScenarios: readonly Scenario[] = [
  {
    name: 'gcp-peering-late',
    cloud: 'gcp',
    title: 'Google Cloud: the event comes after the boot',
    story:
      'Metadata that is set on a running VM does nothing until it boots. The function says so, and a backfill that may restart nodes heals this one.',
    topology: gcpPeering,
    open: openGcpLateEvent,
  },
];
