// Runs commands and sends packets on one machine in the lab. It needs no new process for each packet.
//   node agent.mjs SOCKET
// Each line on the socket is a request in JSON, and the response is one line:
//   {"run": [{"argv": [...], "stdin": "..."}]}   returns the commands' outputs; stops at the first command that fails
//   {"send": [{"protocol", "source", "sourcePort", "destination", "destinationPort"}]}   sends each packet once
import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { createServer, createConnection } from 'node:net';
import { createInterface } from 'node:readline';
import { setImmediate } from 'node:timers';

const [path] = process.argv.slice(2);

function run({ argv: [command, ...args], stdin = '' }) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    input: stdin,
    encoding: 'utf8',
    maxBuffer: 1e8,
  });
  if (error || status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error ?? stderr}`);
  return stdout;
}

function sendUdp({ source, sourcePort, destination, destinationPort }) {
  return new Promise((resolve, reject) => {
    const socket = createSocket(source.includes(':') ? 'udp6' : 'udp4');
    socket.on('error', reject);
    socket.bind({ address: source, port: sourcePort, exclusive: true }, () => {
      socket.send('x', destinationPort, destination, () => {
        // An error here means that a rule dropped the packet. The peer will not have received it.
        socket.close(resolve);
      });
    });
  });
}

/** No reply is awaited, because the first packet is sent before `connect` returns. */
function sendTcp({ source, sourcePort, destination, destinationPort }) {
  return new Promise((resolve) => {
    const socket = createConnection({
      host: destination,
      port: destinationPort,
      localAddress: source,
      localPort: sourcePort,
    });
    socket.on('error', () => undefined);
    socket.on('close', resolve);
    setImmediate(() => socket.destroy());
  });
}

// Pings are sent by a Perl program, because Node.js has no raw sockets. The kernel fills in the ICMPv6 checksum.
const ping = `
use Socket qw(:DEFAULT inet_pton);
while (<STDIN>) {
  my ($source, $id, $destination) = split;
  my $six = $source =~ /:/;
  my $family = $six ? AF_INET6 : AF_INET;
  my $at = sub { my $to = inet_pton($family, $_[0]); $six ? pack_sockaddr_in6(0, $to) : pack_sockaddr_in(0, $to) };
  socket(my $socket, $family, SOCK_RAW, $six ? 58 : 1) or die "socket: $!";
  bind($socket, $at->($source)) or die "bind: $!";
  my $sum = 0x0800 + $id;
  my $request = pack('C2n3', $six ? 128 : 8, 0, ~(($sum & 0xffff) + ($sum >> 16)) & 0xffff, $id, 0);
  send($socket, $request, 0, $at->($destination));
}`;

function sendPings(packets) {
  if (packets.length === 0) return;
  const lines = packets.map(
    ({ source, sourcePort, destination }) => `${source} ${sourcePort} ${destination}\n`,
  );
  run({ argv: ['perl', '-e', ping], stdin: lines.join('') });
}

async function handleRequest(request) {
  if (request.run) return request.run.map(run);
  const isPing = ({ protocol }) => protocol.startsWith('icmp');
  sendPings(request.send.filter(isPing));
  for (const packet of request.send.filter((one) => !isPing(one))) {
    await (packet.protocol === 'tcp' ? sendTcp(packet) : sendUdp(packet));
  }
  return [];
}

createServer(async (socket) => {
  for await (const line of createInterface(socket)) {
    const result = await handleRequest(JSON.parse(line)).then(
      (outputs) => ({ outputs }),
      (error) => ({ error: String(error.message) }),
    );
    socket.write(`${JSON.stringify(result)}\n`);
  }
}).listen(path, () => console.log('listening'));
