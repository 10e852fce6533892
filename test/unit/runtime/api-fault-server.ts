import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { KubeConfig } from '@kubernetes/client-node';
import type { Clock } from '#sidecar/base/clock.ts';
import { createLog } from '#sidecar/base/log.ts';
import { KubeClient } from '#operator/runtime/client.ts';
import { Connection } from '#operator/runtime/connection.ts';
import type { ResourceType } from '#operator/runtime/resources.ts';

export const WIDGETS: ResourceType = {
  group: 'example.test',
  version: 'v1',
  plural: 'widgets',
  kind: 'Widget',
  namespaced: true,
};

export interface Exchange {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export type Answer = (exchange: Exchange, response: ServerResponse) => void | Promise<void>;

/** An API server of which every answer is scripted: the next request gets the next answer, then `otherwise`. */
export class ApiFaultServer implements AsyncDisposable {
  readonly exchanges: Exchange[] = [];
  readonly script: Answer[] = [];
  otherwise: Answer = (_, response) => sendStatus(response, 500, 'InternalError');
  sockets = 0;
  readonly #server = createServer((request, response) => void this.#answer(request, response));

  static async start(): Promise<ApiFaultServer> {
    const server = new ApiFaultServer();
    server.#server.on('connection', () => (server.sockets += 1));
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get watches(): Exchange[] {
    return this.exchanges.filter((exchange) => exchange.query.has('watch'));
  }

  get lists(): Exchange[] {
    return this.exchanges.filter((exchange) => exchange.method === 'GET' && !exchange.query.has('watch'));
  }

  config(): KubeConfig {
    const config = new KubeConfig();
    const { port } = this.#server.address() as AddressInfo;
    config.loadFromClusterAndUser(
      { name: 'faults', server: `http://127.0.0.1:${port}`, skipTLSVerify: true },
      { name: 'tester', token: 'a-token' },
    );
    return config;
  }

  client(clock: Clock): { client: KubeClient; connection: Connection } {
    const connection = new Connection(this.config(), clock);
    const client = new KubeClient({ connection, clock, log: createLog('silent'), userAgent: 'runtime-test/1' });
    return { client, connection };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://server');
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const { method = '', headers } = request;
    const exchange = { method, path: url.pathname, query: url.searchParams, headers, body };
    this.exchanges.push(exchange);
    await (this.script.shift() ?? this.otherwise)(exchange, response);
  }
}

export function widget(name: string, resourceVersion: number, uid = `uid-${name}`): Record<string, unknown> {
  const metadata = { namespace: 'ns', name, uid, resourceVersion: String(resourceVersion) };
  return { apiVersion: 'example.test/v1', kind: 'Widget', metadata, spec: { size: resourceVersion } };
}

export function sendJson(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

export function sendStatus(
  response: ServerResponse,
  code: number,
  reason: string,
  headers: Record<string, string> = {},
) {
  response.writeHead(code, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message: reason }));
}

export function sendList(resourceVersion: number, items: unknown[], token?: string): Answer {
  const metadata = { resourceVersion: String(resourceVersion), ...(token === undefined ? {} : { continue: token }) };
  return (_, response) => sendJson(response, { kind: 'WidgetList', apiVersion: 'example.test/v1', metadata, items });
}

export function line(type: string, object: unknown): string {
  return `${JSON.stringify({ type, object })}\n`;
}

export function bookmark(resourceVersion: number): string {
  return line('BOOKMARK', {
    kind: 'Widget',
    apiVersion: 'example.test/v1',
    metadata: { resourceVersion: String(resourceVersion) },
  });
}

/** Sends the texts and stays open, as a watch does. */
export function sendStream(...texts: string[]): Answer {
  return (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    for (const text of texts) response.write(text);
  };
}

/** Sends the texts, then resets the connection, in the middle of a line if the last text is half of one. */
export function sendAndReset(...texts: string[]): Answer {
  return async (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    await new Promise<void>((resolve) => response.write(texts.join(''), () => resolve()));
    // A reset overtakes what is still unread on the other side: let it be read first.
    await new Promise((resolve) => setTimeout(resolve, 20));
    response.socket?.resetAndDestroy();
  };
}
