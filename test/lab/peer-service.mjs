// The service on a peer. Usage: `node peer-service.mjs http|postgres PORT`. For each request, it prints the request's
// ID and the source address of the socket, then responds.
import { Buffer } from 'node:buffer';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';

const [protocol, port] = process.argv.slice(2);
const logRequest = (id, socket) => console.log(`request ${id} from ${socket.remoteAddress}`);

const http = () =>
  createHttpServer((request, response) => {
    logRequest(request.url.slice(1), request.socket);
    response.end('<h1>Hello Kubernetes!</h1>\n');
  });

// Implements PostgreSQL's frontend/backend protocol 3.0 up to the password prompt.
const sslRequest = 80877103;
const md5PasswordRequest = Buffer.from('R\0\0\0\x0c\0\0\0\x05salt', 'latin1');

const postgres = () =>
  createServer((socket) => {
    let received = Buffer.alloc(0);
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 8 && received.length >= received.readInt32BE(0)) {
        const message = received.subarray(4, received.readInt32BE(0));
        received = received.subarray(message.length + 4);
        if (message.readInt32BE(0) === sslRequest) {
          socket.write('N');
        } else {
          const parameters = message.toString('latin1', 4).split('\0');
          logRequest(parameters[parameters.indexOf('application_name') + 1], socket);
          socket.write(md5PasswordRequest);
        }
      }
    });
  });

const server = { http, postgres }[protocol]();
server.listen(Number(port), '0.0.0.0', () => console.log(`listening on ${port}`));
