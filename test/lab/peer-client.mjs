// Sends one request. Usage: `node peer-client.mjs http|postgres ADDRESS PORT ID TIMEOUT_MS`. Prints one line of JSON:
// {"reached":true,"body":…} once the service has responded, or {"reached":false,"reason":…}.
import { Buffer } from 'node:buffer';
import { connect } from 'node:net';
import { setTimeout } from 'node:timers';

const [protocol, address, port, id, timeoutMs] = process.argv.slice(2);

const http = {
  request: `GET /${id} HTTP/1.0\r\n\r\n`,
  parseResponse: (received, isWhole) =>
    isWhole ? received.toString().split('\r\n\r\n')[1]?.trim() : undefined,
};

// The startup message of PostgreSQL's protocol 3.0. Like psql, this client sends it and prints a password prompt.
const startupParameters = Buffer.from(
  `\0\x03\0\0user\0web\0database\0app\0application_name\0${id}\0\0`,
  'latin1',
);
const length = Buffer.alloc(4);
length.writeInt32BE(startupParameters.length + 4);
const passwordMethods = [3, 5, 10]; // Authentication methods: clear text, MD5, SASL.
const postgres = {
  request: Buffer.concat([length, startupParameters]),
  parseResponse: (received) => {
    if (received.length < 9) return undefined;
    const isPasswordRequest = received[0] === 0x52 && passwordMethods.includes(received.readInt32BE(5));
    return isPasswordRequest ? 'Password for user web:' : received.toString('latin1');
  },
};

const { request, parseResponse } = { http, postgres }[protocol];
let received = Buffer.alloc(0);
let isConnected = false;

function finish(result) {
  console.log(JSON.stringify(result));
  process.exit();
}
function checkResponse(isWhole) {
  const body = parseResponse(received, isWhole);
  if (body !== undefined) finish({ reached: true, body });
}

const socket = connect(Number(port), address, () => {
  isConnected = true;
  socket.write(request);
});
socket.on('data', (chunk) => {
  received = Buffer.concat([received, chunk]);
  checkResponse(false);
});
socket.on('end', () => {
  checkResponse(true);
  finish({ reached: false, reason: 'the service closed the connection without a response' });
});
socket.on('error', ({ message }) => finish({ reached: false, reason: message }));
setTimeout(() => {
  const what = isConnected ? 'answer' : 'connection';
  finish({ reached: false, reason: `no ${what} in ${timeoutMs} ms` });
}, Number(timeoutMs));
