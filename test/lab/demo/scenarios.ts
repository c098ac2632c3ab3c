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
      'A pod connects to a backend in the peered VPC. kubenet masquerades everything except 10.0.0.0/8, which contains the backend.',
    topology: gcpPeering,
    open: openGcp,
  },
  {
    name: 'aws-peering',
    cloud: 'aws',
    title: 'AWS: a cluster peered with the VPC of its database',
    story:
      'psql prompts for a password on the node, but times out in a container. The kubelet masquerades everything except 10.0.0.0/8.',
    topology: awsPeering,
    open: openAws,
  },
  {
    name: 'aws-gcp-vpn',
    cloud: 'aws',
    title: 'AWS to Google Cloud, over a VPN',
    story:
      'A pod in AWS connects to a backend in Google Cloud. The VPN routers know the ranges of the VPCs, but not of pods. The node existed before peermasq: doctor names the broken check, plan shows what the node would get, and a manual backfill pushes it.',
    topology: awsGcpVpn,
    open: openAwsManualBackfill,
  },
];

/** The scenarios that run with `--late`. */
export const lateScenarios: readonly Scenario[] = [
  {
    name: 'gcp-peering-late',
    cloud: 'gcp',
    title: 'Google Cloud: the event arrives after the boot',
    story:
      'Metadata set on a running VM has no effect until it reboots. The function reports this, and a backfill that may restart nodes fixes the node.',
    topology: gcpPeering,
    open: openGcpLateEvent,
  },
];
