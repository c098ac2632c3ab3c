import { eks } from './eks';
import { eksSettings } from './eks-settings';
import { gke } from './gke';
import { kubeadm } from './kubeadm';
import { unusual } from './unusual';
import type { Environment } from './environment';

export const environments: readonly Environment[] = [
  // The slowest environments come first.
  ...unusual,
  ...eks,
  ...eksSettings,
  ...gke,
  ...kubeadm,
];
