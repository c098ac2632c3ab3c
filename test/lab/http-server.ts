import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ListenAddress {
  readonly host?: string;
  readonly port?: number;
}

export interface ServerHandle {
  /** The address as `HOST:PORT`. */
  readonly address: string;
  close(): Promise<void>;
}

export type Handler = (
  request: IncomingMessage,
  body: string,
  response: ServerResponse,
) => Promise<void> | void;

/** Starts an HTTP server on a loopback address or a lab address. Port 0 selects a free port. */
export async function startHttpServer(
  handler: Handler,
  { host = '127.0.0.1', port = 0 }: ListenAddress = {},
): Promise<ServerHandle> {
  const server = createServer((request, response) => {
    void respond(handler, request, response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, host, resolve);
  });
  const address = server.address() as AddressInfo;
  return {
    address: `${address.address}:${address.port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

async function respond(handler: Handler, request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    await handler(request, Buffer.concat(chunks).toString(), response);
  } catch (thrown) {
    // A bug in the local cloud must not look like an error response, so the connection is closed instead.
    response.destroy(thrown instanceof Error ? thrown : new Error(String(thrown)));
    process.emitWarning(thrown instanceof Error ? thrown : String(thrown), 'LabServerWarning');
  }
}
