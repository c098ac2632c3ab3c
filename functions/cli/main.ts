import { Command } from 'commander';
import packageJson from '../../package.json';
import { addRender } from './render';

const program = new Command('peermasq')
  .description(packageJson.description)
  .version(packageJson.version)
  .showHelpAfterError('Say --help for what is accepted.');
addRender(program);
program.parse();
