import { startHost, type Invocation } from './host';

export { sqsEvent } from './records';
export type { Invocation } from './host';

/**
 * Invokes a function of dist/aws once, in a process of its own.
 * @throws Error with its log when it throws or runs out of time
 */
export async function invoke(
  name: string,
  event: unknown,
  env: Readonly<Record<string, string>>,
  timeoutMs = 30_000,
): Promise<Invocation> {
  const host = startHost({ name, bundle: `dist/aws/${name}.js`, timeoutMs, env });
  try {
    return await host.invoke(event);
  } finally {
    await host.close();
  }
}
