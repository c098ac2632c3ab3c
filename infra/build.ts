import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { ConfigError, parseConfig } from '../shared/core/model/config';
import { composeStartupScript } from '../shared/gcp/deliver/startup-script';
import { awsBundle, cliBundle, gcpBundle } from './bundle/options';
import { buildPage } from './build-page';
import { collectFunctions, joinNodeProgram } from './join-node-program';
import packageJson from '../package.json';

/**
 * Bundles the functions, the command line and the page into dist/, with one folder per deployment unit. The folders of
 * the functions and the command line also contain the config and the node program. An invalid config fails the build with a list of all errors.
 */
async function main(): Promise<void> {
  parseConfig(readFileSync('peermasq.yaml', 'utf8'));
  rmSync('dist', { recursive: true, force: true });
  await Promise.all([build(awsBundle), build(gcpBundle), build(cliBundle), buildPage()]);
  chmodSync('dist/cli/peermasq.mjs', 0o755);
  const program = joinNodeProgram();
  for (const folder of ['dist/aws', 'dist/gcp', 'dist/cli']) {
    mkdirSync(folder, { recursive: true });
    copyFileSync('peermasq.yaml', join(folder, 'peermasq.yaml'));
    writeFileSync(join(folder, 'peermasq.sh'), program);
  }
  writeFileSync('dist/cli/collect.sh', collectFunctions());
  // Terraform writes this script to the metadata of a project (infra/gcp), and appends the project's own script.
  writeFileSync('dist/gcp/startup-script.sh', composeStartupScript('\n').trimEnd() + '\n');
  const framework = '@google-cloud/functions-framework';
  const manifest = {
    name: 'peermasq-gcp',
    main: 'index.js',
    dependencies: { [framework]: packageJson.dependencies[framework] },
  };
  writeFileSync('dist/gcp/package.json', `${JSON.stringify(manifest, null, 2)}\n`);
}

main().catch((error: unknown) => {
  console.error(error instanceof ConfigError ? error.message : error);
  process.exitCode = 1;
});
