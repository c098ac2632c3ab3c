// Sends UDP datagrams from the addresses that a test names. Each goes from a socket of its own, so that each is a
// connection of its own to the kernel.
//   node sender.mjs PORT < lines of `SOURCE DESTINATION TEXT`   sends each once
//   node sender.mjs PORT DESTINATION                            sends for ever, from any address
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
    // Yields the CPU to the program that writes the rules.
    await setTimeout(5);
    if (count === 0) console.log('sending');
  }
}
for (const line of (await text(process.stdin)).split('\n').filter(Boolean)) await send(...line.split(' '));
