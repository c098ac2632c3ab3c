import { eks } from './eks';
import { gke } from './gke';
import { kubeadm } from './kubeadm';
import { unusual } from './unusual';
import type { Environment } from './environment';

export const environments: readonly Environment[] = [...eks, ...gke, ...kubeadm, ...unusual];
