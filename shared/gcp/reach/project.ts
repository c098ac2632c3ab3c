import { ProjectsClient } from '@google-cloud/compute/build/src/v1/projects_client';
import { PermanentError } from '../../core/errors';
import type { Deadline } from '../../core/ports';
import { callOptions, type Clients } from '../clients';
import { retrying } from '../errors';
import type { MetadataItem } from '../metadata';

/** The metadata that all instances of a project have. @returns undefined where it may not be read */
export async function readProjectItems(
  clients: Clients,
  { project }: { readonly project: string },
  deadline: Deadline,
): Promise<readonly MetadataItem[] | undefined> {
  try {
    const found = await retrying(`read project ${project}`, deadline, async () => {
      const client = await clients.other(ProjectsClient);
      return (await client.get({ project }, callOptions(deadline)))[0];
    });
    const items = found.commonInstanceMetadata?.items ?? [];
    return items.map(({ key, value }) => ({ key: key ?? '', value: value ?? '' }));
  } catch (thrown) {
    if (thrown instanceof PermanentError && thrown.code === 'permission-denied') return undefined;
    throw thrown;
  }
}
