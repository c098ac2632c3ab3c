// A small GCE metadata server for the tests of `watch`. It supports attributes with ETag and wait_for_change, and the
// guest attributes for the status and for snapshots. Usage: `node test/node/metadata.mjs PORT`. The server prints one
// line for each request. Tests control it with POST /order, whose body is {"set": {KEY: VALUE or null}},
// {"fail": NUMBER_OF_REQUESTS}, or {"fail": NUMBER_OF_REQUESTS, "verb": METHOD, "key": KEY}.
// Behaviour: https://cloud.google.com/compute/docs/metadata/querying-metadata
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { clearTimeout, setTimeout } from 'node:timers';
import { URL } from 'node:url';

const port = Number(process.argv[2]);
const attributes = new Map();
const written = new Set();
const waiting = new Set();
let toFail = 0;
let requestToFail = {};

const etagOf = (value) => createHash('sha256').update(value).digest('hex').slice(0, 16);

function obey({ set = {}, fail = 0, verb, key }) {
  toFail = fail;
  requestToFail = { verb, key };
  for (const [key, value] of Object.entries(set)) {
    if (value === null) attributes.delete(key);
    else attributes.set(key, value);
  }
  for (const answer of [...waiting]) answer();
}

function read(url, request, response) {
  const key = url.pathname.split('/').pop();
  const current = () => (key === '' ? JSON.stringify(Object.fromEntries(attributes)) : attributes.get(key));
  const answer = () => {
    const value = current();
    response.writeHead(value === undefined ? 404 : 200, value === undefined ? {} : { ETag: etagOf(value) });
    response.end(value ?? 'Not Found');
  };
  const isCurrent = () => current() !== undefined && etagOf(current()) === url.searchParams.get('last_etag');
  if (url.searchParams.get('wait_for_change') !== 'true' || !isCurrent()) return answer();
  const finish = () => {
    clearTimeout(timer);
    waiting.delete(onChange);
    answer();
  };
  const onChange = () => isCurrent() || finish();
  const timer = setTimeout(finish, Number(url.searchParams.get('timeout_sec')) * 1000);
  waiting.add(onChange);
  request.socket.on('close', () => {
    clearTimeout(timer);
    waiting.delete(onChange);
  });
}

createServer(async (request, response) => {
  const url = new URL(request.url, 'http://metadata');
  const body = await text(request);
  if (url.pathname === '/order') {
    obey(JSON.parse(body));
    return response.end();
  }
  const path = url.pathname.replace('/computeMetadata/v1/instance/', '');
  if (request.headers['metadata-flavor'] !== 'Google') return response.writeHead(403).end();
  const { verb = request.method, key = '' } = requestToFail;
  if (toFail > 0 && verb === request.method && path.endsWith(key)) {
    toFail -= 1;
    console.log(`503 ${request.method} ${path}`);
    return response.writeHead(503).end();
  }
  console.log(`${request.method} ${path}${url.search} ${body}`);
  if (
    request.method === 'PUT' &&
    /^guest-attributes\/(peermasq\/status|peermasq-snapshot\/\d+)$/.test(path)
  ) {
    written.add(path);
    return response.end();
  }
  if (request.method === 'DELETE' && written.delete(path)) return response.end();
  if (request.method === 'GET' && path.startsWith('attributes/')) return read(url, request, response);
  response.writeHead(404).end();
}).listen(port, '127.0.0.1', () => console.log(`listening on ${port}`));
