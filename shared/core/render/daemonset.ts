import { createHash } from 'node:crypto';
import { Document, Scalar } from 'yaml';
import type { RuleSet } from '../model/rule-set';
import { renderStartupScript } from './startup-script';

export interface DaemonSetOptions {
  readonly namespace: string;
  /** Any image with bash, coreutils and util-linux's nsenter. */
  readonly image: string;
}

/** What is installed on every node, and how. */
interface Installer {
  /** Of the manifests: both forms may live in one cluster. */
  readonly name: string;
  /** Travels as a ConfigMap, and is the standard input of `command`. */
  readonly script: string;
  readonly command: readonly string[];
  readonly capabilities: readonly string[];
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

const folder = '/peermasq';
const labelsOf = (name: string) => ({ 'app.kubernetes.io/name': name });

/**
 * What entering the node's namespaces takes, and not one less (see test/lab/boot); AppArmor's default profile would
 * deny the look at process 1 that comes first.
 */
const nsenterCapabilities = ['SYS_ADMIN', 'SYS_CHROOT', 'SYS_PTRACE'];

/**
 * Kubernetes manifests that install the watcher on every node of a cluster, once: for nodes that were handed their
 * rules too late and must not be restarted. The rules come from the functions all the same, as instance metadata.
 * @param program the text of the node program
 * @returns YAML: a ConfigMap and a DaemonSet
 */
export function renderDaemonSet(program: string, options: DaemonSetOptions): string {
  return manifests(
    {
      name: 'peermasq-watch',
      script: program,
      command: installWatcherCommand,
      capabilities: nsenterCapabilities,
    },
    options,
  );
}

/**
 * The same for clusters that have no functions: they apply one rule set on every node, and again when it boots.
 * Here no service of the node's does that, so it takes the node's network and the right to change its rules, too.
 * @returns YAML: a ConfigMap and a DaemonSet
 */
export function renderRuleSetDaemonSet(program: string, ruleSet: RuleSet, options: DaemonSetOptions): string {
  return manifests(
    {
      name: 'peermasq-ruleset',
      script: renderStartupScript(program, ruleSet),
      command: nsenterCommand(['mount', 'net'], runScript),
      // iptables-legacy opens a raw socket; where that cannot be read, the other backend is taken for the node's.
      capabilities: [...nsenterCapabilities, 'NET_ADMIN', 'NET_RAW'],
    },
    options,
  );
}

function manifests(installer: Installer, options: DaemonSetOptions): string {
  return [configMap(installer, options), daemonSet(installer, options)]
    .map((resource) => new Document(resource).toString({ lineWidth: 0 }))
    .join('---\n');
}

function configMap({ name, script }: Installer, { namespace }: DaemonSetOptions) {
  const text = new Scalar(script);
  text.type = 'BLOCK_LITERAL';
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace, labels: labelsOf(name) },
    data: { 'peermasq.sh': text },
  };
}

function daemonSet(installer: Installer, { namespace, image }: DaemonSetOptions) {
  const { name, script } = installer;
  const labels = labelsOf(name);
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name, namespace, labels },
    spec: {
      selector: { matchLabels: labels },
      updateStrategy: { rollingUpdate: { maxUnavailable: '10%' } },
      template: {
        // Another script is another pod: a changed ConfigMap alone restarts none.
        metadata: { labels, annotations: { 'peermasq/script': digest(script) } },
        spec: {
          automountServiceAccountToken: false,
          hostPID: true,
          nodeSelector: { 'kubernetes.io/os': 'linux' },
          tolerations: [{ operator: 'Exists' }],
          initContainers: [installContainer(image, installer)],
          containers: [pauseContainer(image)],
          volumes: [{ name: 'program', configMap: { name } }],
        },
      },
    },
  };
}

const digest = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 12);

/** Not privileged. */
function installContainer(image: string, { command, capabilities }: Installer) {
  return {
    name: 'install',
    image,
    command: ['bash', '-c', 'exec "$@" < /peermasq/peermasq.sh', 'install', ...command],
    securityContext: {
      runAsUser: 0,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: capabilities },
      seccompProfile: { type: 'RuntimeDefault' },
      appArmorProfile: { type: 'Unconfined' },
    },
    resources: { requests: { cpu: '10m', memory: '16Mi' }, limits: { memory: '64Mi' } },
    volumeMounts: [{ name: 'program', mountPath: folder, readOnly: true }],
  };
}

/** What runs in namespaces of the node, with none of the container's environment. */
function nsenterCommand(namespaces: readonly string[], commands: string): readonly string[] {
  const entered = namespaces.map((namespace) => `--${namespace}`);
  const clean = ['env', '--ignore-environment', 'bash', '-c', commands];
  return ['nsenter', '--target', '1', ...entered, '--', ...clean];
}

export const installWatcherCommand = nsenterCommand(['mount'], installWatcher);

/** A DaemonSet's pods must run on; this one may do nothing. */
function pauseContainer(image: string) {
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
