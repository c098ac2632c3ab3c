import { createHash } from 'node:crypto';
import { Document, Scalar } from 'yaml';
import type { RuleSet } from '../model/rule-set';
import { renderStartupScript } from './startup-script';

export interface DaemonSetOptions {
  readonly namespace: string;
  /** Any image that contains bash, coreutils and nsenter from util-linux. */
  readonly image: string;
}

interface Installer {
  /**
   * The name of the resources in the manifests. The two installers have different names, so that one cluster can run
   * both.
   */
  readonly name: string;
  /** The script, which is stored in the ConfigMap and passed to `command` on stdin. */
  readonly script: string;
  readonly command: readonly string[];
  readonly capabilities: readonly string[];
}

/** The node reads the script from stdin, so it never executes a file that another user could have written. */
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
 * The minimum set of capabilities for nsenter (see test/lab/boot). AppArmor's default profile denies reading process 1,
 * so the profile is `Unconfined`.
 */
const nsenterCapabilities = ['SYS_ADMIN', 'SYS_CHROOT', 'SYS_PTRACE'];

/**
 * Renders manifests that install the watcher on every node. They are for nodes that booted before peermasq wrote their
 * metadata and that must not be restarted. The functions still deliver the rule sets in instance metadata.
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
 * Renders manifests for clusters without functions, which apply one rule set on every node and again after each boot.
 * The pod itself changes the rules, so it also needs the node's network namespace and NET_ADMIN.
 */
export function renderRuleSetDaemonSet(program: string, ruleSet: RuleSet, options: DaemonSetOptions): string {
  return manifests(
    {
      name: 'peermasq-ruleset',
      script: renderStartupScript(program, ruleSet),
      command: nsenterCommand(['mount', 'net'], runScript),
      // Without NET_RAW, iptables-legacy cannot list its rules, and the node program would detect the wrong backend.
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
        // A change to the ConfigMap alone does not restart the pods, but a changed annotation does.
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

/** Returns a command that runs commands on the node, without the container's environment variables. */
function nsenterCommand(namespaces: readonly string[], commands: string): readonly string[] {
  const entered = namespaces.map((namespace) => `--${namespace}`);
  const clean = ['env', '--ignore-environment', 'bash', '-c', commands];
  return ['nsenter', '--target', '1', ...entered, '--', ...clean];
}

export const installWatcherCommand = nsenterCommand(['mount'], installWatcher);

/** The pods of a DaemonSet have to keep running. This container does nothing and has no privileges. */
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
