import { InvalidArgumentError, type Command } from 'commander';
import { renderDaemonSet, type DaemonSetOptions } from '../../shared/core/render/daemonset';
import { loadProgram } from '../settings';

/** `peermasq render`: what peermasq does, in the forms that others use. */
export function addRender(program: Command): void {
  const render = program
    .command('render')
    .description('print what peermasq does in the forms that others use');
  render
    .command('daemonset')
    .description(
      'Kubernetes manifests that install the watcher on nodes which are not to be restarted (Google Cloud)',
    )
    .option('-n, --namespace <name>', 'where the DaemonSet lives', namespace, 'kube-system')
    .option('--image <image>', 'an image with bash and nsenter', image, 'debian:bookworm-slim')
    .addHelpText('after', '\nExample:\n  $ npx peermasq render daemonset | kubectl apply -f -')
    .action((options: DaemonSetOptions) => {
      process.stdout.write(renderDaemonSet(loadProgram(), options));
    });
}

/** RFC 1123, as Kubernetes wants names. */
function namespace(text: string): string {
  if (/^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/.test(text)) return text;
  throw new InvalidArgumentError('Accepted is a name such as kube-system.');
}

function image(text: string): string {
  if (/^[a-z0-9][A-Za-z0-9._:/@-]{0,254}$/.test(text)) return text;
  throw new InvalidArgumentError('Accepted is a reference such as debian:bookworm-slim.');
}
