import { createHash } from 'node:crypto';
import { Document, Scalar } from 'yaml';
import type { RuleSet } from '../model/rule-set';
import { renderStartupScript } from './startup-script';

export interface DaemonSetOptions {
  readonly namespace: string;
  /** Any image with bash, coreutils and util-linux's nsenter. */
  readonly image: string;
}

interface Installer {
  /** The name of the manifests. They differ, so that one cluster can have both. */
  readonly name: string;
  /** Stored in the ConfigMap and passed to `command` on stdin. */
  readonly script: string;
  readonly command: readonly string[];
  readonly capabilities: readonly string[];
}

/** The script is read from stdin, so the node never executes a file that someone else could have written. */
const runOnNode = (commands: string) => `set -e
umask 077
${commands}
rm /run/peermasq-install.sh
`;

const installWatcher =
  runOnNode(`[ -d /run/systemd/system ] || { echo 'peermasq: the watcher needs systemd, which this node does not have' >&2; exit 1; }
cat > /run/peermasq-install.sh
bash /run/peermasq-install.sh watch --install`);

const runScript = runOnNode(`cat > /run/peermasq-install.sh
sh /run/peermasq-install.sh`);

const mountPath = '/peermasq';
const labelsOf = (name: string) => ({ 'app.kubernetes.io/name': name });

/**
 * The minimum for nsenter (see test/lab/boot). AppArmor's default profile would deny reading process 1, hence
 * `Unconfined` below.
 */
const nsenterCapabilities = ['SYS_ADMIN', 'SYS_CHROOT', 'SYS_PTRACE'];

/**
 * Manifests that install the watcher on every node, for nodes that booted before they had their metadata and must
 * not be restarted. The rule sets still come from the functions, as instance metadata.
 * @param program the text of the node program
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
 * Manifests for clusters without functions: they apply one rule set on every node, again after each boot. The pod
 * changes the rules itself, so it also needs the network namespace of the node and NET_ADMIN.
 */
export function renderRuleSetDaemonSet(program: string, ruleSet: RuleSet, options: DaemonSetOptions): string {
  return manifests(
    {
      name: 'peermasq-ruleset',
      script: renderStartupScript(program, ruleSet),
      command: nsenterCommand(['mount', 'net'], runScript),
      // Without NET_RAW iptables-legacy cannot list its rules, and the wrong backend would be detected.
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
        // A changed ConfigMap alone does not restart pods.
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
    volumeMounts: [{ name: 'program', mountPath, readOnly: true }],
  };
}

/** Runs commands on the node, without the container's environment. */
function nsenterCommand(namespaces: readonly string[], commands: string): readonly string[] {
  const entered = namespaces.map((namespace) => `--${namespace}`);
  const clean = ['env', '--ignore-environment', 'bash', '-c', commands];
  return ['nsenter', '--target', '1', ...entered, '--', ...clean];
}

export const installWatcherCommand = nsenterCommand(['mount'], installWatcher);

/** The pods of a DaemonSet have to keep running; this container has no privileges. */
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
