// The service that runs on a peer. It reports the source address of each request: an HTTP response contains the
// address, and a UDP datagram is printed as `udp ADDRESS TEXT`. Usage: `node test/lab/echo-server.mjs PORT`
import { createSocket } from 'node:dgram';
import { createServer } from 'node:http';

const port = Number(process.argv[2]);
const plain = (address) => (address ?? '?').replace(/^::ffff:/, '');

const datagrams = createSocket('udp6');
datagrams.on('message', (text, { address }) => console.log(`udp ${plain(address)} ${text}`));
datagrams.bind(port, () => {
  createServer((request, response) => {
    console.log(`tcp ${plain(request.socket.remoteAddress)}`);
    response.setHeader('connection', 'close').end(`${plain(request.socket.remoteAddress)}\n`);
  }).listen(port, () => console.log(`listening on ${port}`));
});
