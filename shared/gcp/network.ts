import type { protos } from '@google-cloud/compute';

export type Network = protos.google.cloud.compute.v1.INetwork;

/** A network where it lives: with Shared VPC that is the host project, not the node's own. */
export interface NetworkRef {
  readonly project: string;
  readonly network: string;
}

export const keyOf = ({ project, network }: NetworkRef): string => `${project}/${network}`;

export const isOf = ({ project, network }: NetworkRef, url: string | null | undefined): boolean =>
  url?.endsWith(`/projects/${project}/global/networks/${network}`) === true;

/** Looks up through `look`, each key once; what failed is looked up again. */
export function once<T>(): (key: string, look: () => Promise<T>) => Promise<T> {
  const asked = new Map<string, Promise<T>>();
  return (key, look) => {
    const answer = asked.get(key) ?? look();
    asked.set(key, answer);
    answer.catch(() => asked.delete(key));
    return answer;
  };
}
