/** `/metrics` and the probes; the only port that is not on loopback, so it shows nothing of anybody's calls. */
import type { Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import { AppError } from '../base/errors.ts';
import { createServer } from './node-http.ts';

export interface AdminOptions {
  readonly registry: Registry;
  /** Whether calls can be served, or are at least refused with a reason. */
  readonly isReady: () => boolean;
}

export class AdminServer implements AsyncDisposable {
  readonly #server: Server;

  constructor({ registry, isReady }: AdminOptions) {
    const routes: Readonly<Record<string, (response: ServerResponse) => Promise<void> | void>> = {
      '/metrics': async (response) => {
        const text = await registry.metrics();
        response.writeHead(200, { 'content-type': registry.contentType }).end(text);
      },
      // The process answers: that is all a kubelet must know before it starts the agent, or restarts us.
      '/healthz': (response) => answer(response, 200, 'ok'),
      '/startupz': (response) => answer(response, 200, 'ok'),
      '/readyz': (response) =>
        isReady() ? answer(response, 200, 'ok') : answer(response, 503, 'no configuration has arrived yet'),
    };
    this.#server = createServer((request, response) => {
      const route = request.method === 'GET' ? routes[request.url?.split('?', 1)[0] ?? ''] : undefined;
      if (route === undefined) answer(response, 404, 'not found');
      else void Promise.resolve(route(response)).catch(() => response.destroy());
    });
  }

  /** Gives the port. Fails with `unavailable` when the address is taken. */
  async listen(host: string, port: number): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#server.once('error', (cause) => {
      reject(new AppError('unavailable', `cannot listen on ${host}:${port}: ${cause.message}`, { cause }));
    });
    this.#server.listen(port, host, () => resolve((this.#server.address() as AddressInfo).port));
    return promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = Promise.withResolvers<void>();
    this.#server.close(() => closed.resolve());
    this.#server.closeAllConnections();
    await closed.promise;
  }
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`);
}
