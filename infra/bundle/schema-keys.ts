import { readFileSync } from 'node:fs';
import type { Plugin } from 'esbuild';
import { replaceModules } from './replace-modules';

/**
 * Replaces the computed keys in the schemas of the AWS clients (@aws-sdk/client-*: dist-es/schemas/schemas_0.js) with
 * their values. A computed key, `{ [_eQN]: … }`, may have a side effect (toString), so esbuild keeps every object
 * with computed keys and everything that the object refers to. The keys are constants in the same file. Once they are
 * replaced, esbuild drops the unused schemas.
 */
export const schemaKeys: Plugin = replaceModules(
  'schema-keys',
  ['@aws-sdk/client-ec2/dist-es/schemas/schemas_0.js', '@aws-sdk/client-ssm/dist-es/schemas/schemas_0.js'],
  (path) => ({ contents: withLiteralKeys(readFileSync(path, 'utf8')), loader: 'js' }),
);

/** @throws Error if there is no computed key, or if a key is not a string constant in the same file */
export function withLiteralKeys(source: string): string {
  const constants = new Map(
    Array.from(source.matchAll(/^const (\w+) = ("[^"\\]*");$/gm), ([, name, text]) => [name, text] as const),
  );
  let written = 0;
  const result = source.replaceAll(/\[([\w$]+)\]: /g, (_, name: string) => {
    const text = constants.get(name);
    if (text === undefined) throw new Error(`The key ${name} is not a string constant in the same file`);
    written++;
    return `${text}: `;
  });
  if (written === 0) throw new Error('The schemas have no computed keys: remove this step');
  return result;
}
