/** The vendor as a server: HTTP or HTTPS, with its control API beside it. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Door } from './admission.ts';
import { CONTROL_PREFIX, serveControl } from './control-api.ts';
import { Exchange } from './exchange.ts';
import { vendorFacts, type Facts } from './facts.ts';
import { serveInference } from './inference.ts';
import { serveMonitor } from './monitor.ts';
import { unknownPath } from './refusal.ts';
import { serveSmall } from './small.ts';
import { chat } from './surfaces/chat.ts';
import { messages } from './surfaces/messages.ts';
import { responses } from './surfaces/responses.ts';
import type { SimulatorConfig } from './terms.ts';
import { Vendor } from './vendor.ts';

const PLAN = { billings: ['CodingPlan', 'TeamSeat'] } satisfies Partial<Door>;

const DOORS: Record<string, Door> = {
  '/api/coding/paas/v4/chat/completions': { surface: chat, ...PLAN },
  '/api/anthropic/v1/messages': { surface: messages, ...PLAN },
  '/api/v1/responses': { surface: responses, ...PLAN },
  '/api/paas/v4/chat/completions': { surface: chat, billings: ['PayAsYouGo'] },
};

export interface SimulatorOptions {
  config?: SimulatorConfig;
  facts?: Facts;
  /** Default 127.0.0.1. */
  host?: string;
  /** Default: any free one. */
  port?: number;
  /** Plain HTTP port of the control API, default any free one. It is under `/__sim/` of the main port too, unless TLS is on. */
  controlPort?: number;
  /** PEM; makes the vendor speak HTTPS. */
  tls?: { cert: string; key: string };
}

export interface Simulator extends AsyncDisposable {
  /** Origin of the vendor, no slash at the end. */
  url: string;
  /** Origin of the control API, plain HTTP. */
  controlUrl: string;
  close(): Promise<void>;
}

class Reception {
  readonly #vendor: Vendor;
  readonly #sockets = new Set<Socket>();
  readonly #hasControl: boolean;

  constructor(vendor: Vendor, hasControl: boolean) {
    this.#vendor = vendor;
    this.#hasControl = hasControl;
  }

  admitSocket(socket: Socket): void {
    if (this.#vendor.knobs.isDown) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  /** Resets every connection, as a crash of the vendor would. */
  dropConnections(): number {
    const dropped = this.#sockets.size;
    for (const socket of this.#sockets) socket.resetAndDestroy();
    return dropped;
  }

  serve(request: IncomingMessage, response: ServerResponse): void {
    const target = request.url ?? '/';
    const door = request.method === 'POST' ? DOORS[target] : undefined;
    const exchange = new Exchange(request, response);
    const served = door ? serveInference(this.#vendor, door, exchange) : this.#serveOther(exchange, target);
    served.catch((error: unknown) => {
      console.error(error);
      response.destroy();
    });
  }

  async #serveOther(exchange: Exchange, target: string): Promise<void> {
    const url = new URL(target, 'http://vendor');
    const door = exchange.request.method === 'POST' ? DOORS[url.pathname] : undefined;
    if (door) return await serveInference(this.#vendor, door, exchange);
    if (this.#hasControl && url.pathname.startsWith(CONTROL_PREFIX)) return await this.serveControl(exchange, url);
    if (await serveSmall(this.#vendor, exchange, url.pathname)) return;
    if (
      url.pathname.startsWith('/api/monitor/') &&
      serveMonitor(this.#vendor, exchange, url.pathname, url.searchParams)
    )
      return;
    const { status, headers, body } = unknownPath(url.pathname, this.#vendor.knobs.errors);
    exchange.send(status, headers, body);
  }

  async serveControl(exchange: Exchange, url: URL): Promise<void> {
    await serveControl(this.#vendor, exchange, url, () => this.dropConnections());
  }
}

async function listen(server: Server, host: string, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, backlog: 4096 }, resolve);
  });
  return (server.address() as AddressInfo).port;
}

async function stop(server: Server): Promise<void> {
  const stopped = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  server.closeAllConnections();
  await stopped;
}

/** Requests may last for ever and bodies be slow: the vendor sets no such limits that clients see. */
function tune(server: Server): Server {
  server.requestTimeout = 0;
  server.headersTimeout = 0;
  server.keepAliveTimeout = 60_000;
  return server;
}

export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const { host = '127.0.0.1', port = 0, tls } = options;
  const vendor = new Vendor(options.config ?? {}, options.facts ?? vendorFacts);
  const reception = new Reception(vendor, tls === undefined);
  const serve = (request: IncomingMessage, response: ServerResponse): void => reception.serve(request, response);
  const main = tune(tls ? createSecureServer(tls, serve) : createServer(serve));
  main.on('connection', (socket: Socket) => reception.admitSocket(socket));
  const control = tune(
    createServer((request, response) => {
      void reception.serveControl(new Exchange(request, response), new URL(request.url ?? '/', 'http://control'));
    }),
  );
  const named = host.includes(':') ? `[${host}]` : host;
  const url = `${tls ? 'https' : 'http'}://${named}:${await listen(main, host, port)}`;
  const controlUrl = `http://${named}:${await listen(control, host, options.controlPort ?? 0)}`;
  const close = async (): Promise<void> => {
    vendor.holds.release();
    await Promise.all([main, control].map(stop));
  };
  return { url, controlUrl, close, [Symbol.asyncDispose]: close };
}
