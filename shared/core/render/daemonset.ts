import { Document, Scalar } from 'yaml';
import type { RuleSet } from '../rule-set';
import { renderStartupScript } from './startup-script';

export interface DaemonSetOptions {
  readonly namespace: string;
  /** Any image with bash, coreutils and util-linux's nsenter. */
  readonly image: string;
}

/** The program comes by its standard input: what is executed on a node is nothing that lies around there. */
const runOnNode = (commands: string) => `set -e
umask 077
${commands}
rm /run/peermasq-install.sh
`;

const installWatcher =
  runOnNode(`[ -d /run/systemd/system ] || { echo 'peermasq: this node has no systemd to keep the watcher running' >&2; exit 1; }
cat > /run/peermasq-install.sh
bash /run/peermasq-install.sh watch --install`);

const runScript = runOnNode(`cat > /run/peermasq-install.sh
sh /run/peermasq-install.sh`);

const name = 'peermasq-watch';
const folder = '/peermasq';
const labels = { 'app.kubernetes.io/name': name };

/**
 * Kubernetes manifests that install the watcher on every node of a cluster, once: for nodes that were handed their
 * rules too late and must not be restarted. The rules come from the functions all the same, as instance metadata.
 * @param program the text of the node program
 * @returns YAML: a ConfigMap and a DaemonSet
 */
export function renderDaemonSet(program: string, options: DaemonSetOptions): string {
  return manifests(program, nodeCommand, options);
}

/**
 * The same for clusters that have no functions: they apply one rule set on every node, and again when it boots.
 * @returns YAML: a ConfigMap and a DaemonSet
 */
export function renderRuleSetDaemonSet(program: string, ruleSet: RuleSet, options: DaemonSetOptions): string {
  return manifests(renderStartupScript(program, ruleSet), inNode(runScript), options);
}

function manifests(script: string, command: readonly string[], options: DaemonSetOptions): string {
  return [configMap(script, options), daemonSet(command, options)]
    .map((resource) => new Document(resource).toString({ lineWidth: 0 }))
    .join('---\n');
}

function configMap(script: string, { namespace }: DaemonSetOptions) {
  const text = new Scalar(script);
  text.type = 'BLOCK_LITERAL';
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace, labels },
    data: { 'peermasq.sh': text },
  };
}

function daemonSet(command: readonly string[], { namespace, image }: DaemonSetOptions) {
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name, namespace, labels },
    spec: {
      selector: { matchLabels: labels },
      updateStrategy: { rollingUpdate: { maxUnavailable: '10%' } },
      template: {
        metadata: { labels },
        spec: {
          automountServiceAccountToken: false,
          hostPID: true,
          nodeSelector: { 'kubernetes.io/os': 'linux' },
          tolerations: [{ operator: 'Exists' }],
          initContainers: [installer(image, command)],
          containers: [sleeper(image)],
          volumes: [{ name: 'program', configMap: { name } }],
        },
      },
    },
  };
}

/**
 * Not privileged: to enter the node's mount namespace takes these three capabilities, and not one less (see
 * test/lab/boot); AppArmor's default profile would deny the look at process 1 that comes first.
 */
function installer(image: string, command: readonly string[]) {
  return {
    name: 'install',
    image,
    command: ['bash', '-c', 'exec "$@" < /peermasq/peermasq.sh', 'install', ...command],
    securityContext: {
      runAsUser: 0,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: ['SYS_ADMIN', 'SYS_CHROOT', 'SYS_PTRACE'] },
      seccompProfile: { type: 'RuntimeDefault' },
      appArmorProfile: { type: 'Unconfined' },
    },
    resources: { requests: { cpu: '10m', memory: '16Mi' }, limits: { memory: '64Mi' } },
    volumeMounts: [{ name: 'program', mountPath: folder, readOnly: true }],
  };
}

/** What runs in the node's mount namespace, with none of the container's environment. */
const inNode = (commands: string): readonly string[] => [
  ...['nsenter', '--target', '1', '--mount', '--', 'env', '--ignore-environment'],
  ...['bash', '-c', commands],
];

export const nodeCommand = inNode(installWatcher);

/** A DaemonSet's pods must run on; this one may do nothing. */
function sleeper(image: string) {
  return {
    name: 'done',
    image,
    command: ['sleep', 'infinity'],
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 65_534,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
    resources: { requests: { cpu: '1m', memory: '4Mi' }, limits: { memory: '16Mi' } },
  };
}
