/** The HTTP server agents talk to, on loopback only. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AppError } from '../base/errors.ts';
import type { Gateway } from './gateway.ts';
import { createServer } from './node-http.ts';

const HOST = '127.0.0.1';
/** Clients keep connections for a minute at most; ours must outlive theirs, or a call could meet a closing one. */
const KEEP_ALIVE_MS = 75_000;
const HEADERS_TIMEOUT_MS = 60_000;
/** For the request to arrive; the response may take any time. */
const REQUEST_TIMEOUT_MS = 300_000;
const MAX_HEADER_BYTES = 65_536;

export class ProxyServer implements AsyncDisposable {
  readonly #server: Server;
  #active = 0;
  #idle: PromiseWithResolvers<void> | null = null;

  constructor(gateway: Gateway) {
    this.#server = createServer({
      // Whatever two parsers could read in two ways is refused: bad lengths, bare line feeds, several hosts.
      insecureHTTPParser: false,
      requireHostHeader: true,
      keepAliveTimeout: KEEP_ALIVE_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      noDelay: true,
    });
    const serve = (request: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): void => {
      this.#active += 1;
      response.on('close', () => this.#leave());
      // A client that went away is noticed by `close`; a write that comes too late is no error of ours.
      response.on('error', () => undefined);
      void gateway.serve(request, response, awaitsContinue);
    };
    this.#server.on('request', (request, response) => serve(request, response, false));
    this.#server.on('checkContinue', (request, response) => serve(request, response, true));
  }

  /** Requests whose response is not complete. */
  get active(): number {
    return this.#active;
  }

  /** Listens on loopback; 0: any free port. Gives the port. Fails with `unavailable` when it is taken. */
  async listen(port: number): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#server.once('error', (cause) => {
      reject(new AppError('unavailable', `cannot listen on ${HOST}:${port}: ${cause.message}`, { cause }));
    });
    this.#server.listen(port, HOST, () => resolve((this.#server.address() as AddressInfo).port));
    return promise;
  }

  /** Resolves as soon as no request is active. */
  async quiet(): Promise<void> {
    if (this.#active === 0) return;
    this.#idle ??= Promise.withResolvers<void>();
    await this.#idle.promise;
  }

  /** Closes the port and cuts what is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = Promise.withResolvers<void>();
    this.#server.close(() => closed.resolve());
    this.#server.closeAllConnections();
    await closed.promise;
  }

  #leave(): void {
    this.#active -= 1;
    if (this.#active > 0) return;
    this.#idle?.resolve();
    this.#idle = null;
  }
}
