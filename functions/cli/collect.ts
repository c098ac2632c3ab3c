import { InvalidArgumentError, type Command } from 'commander';
import { tryParseAddress, type Address } from '../../shared/core/model/cidr';
import { collectScript } from './collect-script';
import { addExamples } from './options';

export function addCollect(program: Command): void {
  const command = program
    .command('collect')
    .description(
      'print a POSIX sh script that prints everything about a node that explain reads. It needs nothing installed and changes nothing. Run it as root on the node',
    )
    .option(
      '--from <pod>',
      "address of a pod: the script also prints the pod's connections, at most 1,000",
      parsePod,
    )
    .action(({ from }: { from?: Address }) => {
      process.stdout.write(collectScript(from));
    });
  addExamples(command, [
    'npx peermasq collect | ssh node-1 sudo sh > rules.txt',
    'npx peermasq collect > collect.sh',
    'npx peermasq explain --rules rules.txt --from 10.132.0.10 --to 10.193.0.3:32191',
  ]);
}

function parsePod(text: string): Address {
  const address = tryParseAddress(text);
  if (address) return address;
  throw new InvalidArgumentError('Expected the address of a pod, such as 10.132.0.10.');
}
