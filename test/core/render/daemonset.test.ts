import { expect, test } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
import { renderDaemonSet } from '../../../shared/core/render/daemonset';
import { nodeProgram } from '../../lab/node-program';

const program = nodeProgram;
const options = { namespace: 'kube-system', image: 'debian:bookworm-slim' };
const [configMap, daemonSet] = parseAllDocuments(renderDaemonSet(program, options)).map(
  (document) => document.toJS() as Record<string, unknown>,
);

const { spec } = (daemonSet as { spec: { template: { spec: Record<string, unknown> } } }).spec.template;
const [install] = spec['initContainers'] as Record<string, unknown>[];
const [pause] = spec['containers'] as Record<string, unknown>[];

test('the ConfigMap contains the exact node program, and is within the Kubernetes size limit', () => {
  expect(configMap).toMatchObject({ kind: 'ConfigMap', metadata: { namespace: 'kube-system' } });
  expect(configMap).toHaveProperty(['data', 'peermasq.sh'], program);
  expect(JSON.stringify(configMap).length).toBeLessThan(1024 * 1024);
});

test("the install container may enter the node's mount namespace and has no other privileges", () => {
  expect(install?.['securityContext']).toEqual({
    runAsUser: 0,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'], add: ['SYS_ADMIN', 'SYS_CHROOT', 'SYS_PTRACE'] },
    seccompProfile: { type: 'RuntimeDefault' },
    appArmorProfile: { type: 'Unconfined' },
  });
  expect(spec).toMatchObject({ hostPID: true, automountServiceAccountToken: false });
  expect(spec).not.toHaveProperty('hostNetwork');
  expect(spec['volumes']).toEqual([{ name: 'program', configMap: { name: 'peermasq-watch' } }]);
});

test('the container that keeps running has no privileges', () => {
  expect(pause).toMatchObject({
    command: ['sleep', 'infinity'],
    securityContext: {
      runAsNonRoot: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
    },
  });
});

test('the DaemonSet runs on every Linux node, regardless of taints', () => {
  expect(spec).toMatchObject({
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    tolerations: [{ operator: 'Exists' }],
  });
});
