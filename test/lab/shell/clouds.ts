import { join } from 'node:path';
import { misconfigurations as awsMisconfigurations } from '../aws/connection';
import type { CliHome } from '../cli-home';
import { openAccount } from '../demo/aws-event';
import { node, openProject, serveMetadata } from '../demo/gcp-project';
import { addVm } from '../gcp/state';
import { misconfigurations as gcpMisconfigurations } from '../gcp/connection';
import { buildNetworks, type Networks } from '../networks';
import { awsPeering, gcpPeering } from '../topologies';
import { nodeProgramFile } from '../node-program';

/** A local cloud with a Kubernetes node, a pod on the node, and a peer. */
export interface ShellCloud {
  readonly networks: Networks;
  readonly home: CliHome;
  /** The environment variables for the command line. */
  readonly env: Readonly<Record<string, string>>;
  /** The environment variables for the node program. */
  readonly nodeEnv: Readonly<Record<string, string>>;
  /** The ID of the node. */
  readonly node: string;
  readonly close: () => Promise<void>;
}

/** The names of each cloud's misconfigurations, which break the connection from the node to the peer. */
export const misconfigurations = {
  aws: Object.keys(awsMisconfigurations),
  gcp: Object.keys(gcpMisconfigurations),
} as const;

export type CloudName = keyof typeof misconfigurations;

/**
 * Opens a local cloud.
 * @param broken the name of a misconfiguration to apply, if any
 */
export const openCloud = (cloud: CloudName, broken: string | undefined): Promise<ShellCloud> =>
  cloud === 'aws' ? openAws(broken) : openGcp(broken);

const nodeEnvOf = ({ nodeHost }: Networks) => ({
  PEERMASQ_DIR: join(nodeHost.folder, 'peermasq'),
  PEERMASQ_PERSIST: '0',
});

async function openAws(broken: string | undefined): Promise<ShellCloud> {
  const networks = await buildNetworks(awsPeering);
  const { connection, home, config, id, close } = await openAccount(networks, { state: 'running' });
  for (const [name, misconfigure] of Object.entries(awsMisconfigurations))
    if (connection && name === broken) misconfigure(connection);
  if (broken !== undefined) await networks.cut();
  return {
    networks,
    home,
    env: { PEERMASQ_CONFIG: config },
    nodeEnv: nodeEnvOf(networks),
    node: id,
    close: async () => {
      await close();
      await networks.close();
    },
  };
}

/** Opens a local Google Cloud. As with the DaemonSet, the watcher runs on the node before there are any rules. */
async function openGcp(broken: string | undefined): Promise<ShellCloud> {
  const networks = await buildNetworks(gcpPeering);
  const project = await openProject(networks);
  const started = new Date().toISOString();
  const vm = addVm(project.cloud, { ...node, creationTimestamp: started, lastStartTimestamp: started });
  await serveMetadata(project, vm);
  for (const [name, misconfigure] of Object.entries(gcpMisconfigurations))
    if (name === broken) misconfigure(project.cloud);
  if (broken !== undefined) await networks.cut();
  const nodeEnv = { ...nodeEnvOf(networks), GCE_METADATA_HOST: networks.managementAddress };
  networks.nodeHost.spawn(['bash', nodeProgramFile, 'watch'], { env: nodeEnv });
  return {
    networks,
    home: project.home,
    env: { PEERMASQ_CONFIG: project.config },
    nodeEnv,
    node: vm.name,
    close: async () => {
      await project.close();
      await networks.close();
    },
  };
}
