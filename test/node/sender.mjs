// Sends UDP datagrams from the addresses that a test names. Each datagram has its own socket, so that the kernel treats
// each as a separate connection.
//   node sender.mjs PORT < lines of `SOURCE DESTINATION TEXT`   sends one datagram for each line
//   node sender.mjs PORT DESTINATION                            sends until it is killed, from any address
import { createSocket } from 'node:dgram';
import { text } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';

const [port, forEver] = process.argv.slice(2);

function send(source, destination, message) {
  return new Promise((resolve, reject) => {
    const socket = createSocket(destination.includes(':') ? 'udp6' : 'udp4');
    socket.on('error', reject);
    socket.bind({ address: source, exclusive: true }, () => {
      socket.send(message, Number(port), destination, (error) => {
        socket.close();
        if (error) reject(error);
        else resolve();
      });
    });
  });
}

if (forEver) {
  for (let count = 0; ; count++) {
    await send(undefined, forEver, String(count));
    // Gives CPU time to the program that is writing the rules.
    await setTimeout(5);
    if (count === 0) console.log('sending');
  }
}
for (const line of (await text(process.stdin)).split('\n').filter(Boolean)) await send(...line.split(' '));
