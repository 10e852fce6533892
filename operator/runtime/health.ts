/** Probes and metrics over plain HTTP: `/healthz` (restart me if not), `/readyz` (send me work), `/metrics`. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import { withDeadline } from '../../sidecar/base/abort.ts';
import type { Clock } from '../../sidecar/base/clock.ts';
import { AppError } from '../../sidecar/base/errors.ts';

const CHECK_MS = 2000;

/** Resolves when well; fails with the reason when not. */
export type Check = (signal: AbortSignal) => void | Promise<void>;

export interface HealthOptions {
  readonly host: string;
  /** 0: any. */
  readonly port: number;
  readonly live: Readonly<Record<string, Check>>;
  readonly ready: Readonly<Record<string, Check>>;
  readonly registry: Registry;
  /** Runs before metrics are read, for gauges that age. */
  readonly observe?: () => void;
  readonly clock: Clock;
}

export interface Health extends AsyncDisposable {
  readonly port: number;
  /** From now on `/readyz` fails: no new work, please. */
  drain(): void;
}

/** Listens at once; resolves when it does. */
export async function startHealth(options: HealthOptions): Promise<Health> {
  let isDraining = false;
  const draining: Check = () => {
    if (isDraining) throw new AppError('unavailable', 'shutting down');
  };
  const ready = { draining, ...options.ready };
  const server = createServer((request, response) => {
    answer(request, { ...options, ready }, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    drain: () => {
      isDraining = true;
    },
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(request: IncomingMessage, options: HealthOptions, response: ServerResponse): Promise<void> {
  switch (request.url?.split('?')[0]) {
    case '/healthz':
      return probe(options.live, options.clock, response);
    case '/readyz':
      return probe(options.ready, options.clock, response);
    case '/metrics': {
      options.observe?.();
      const text = await options.registry.metrics();
      response.writeHead(200, { 'content-type': options.registry.contentType }).end(text);
      return;
    }
    default:
      response.writeHead(404, { 'content-type': 'text/plain' }).end('/healthz, /readyz, /metrics\n');
  }
}

async function probe(checks: HealthOptions['live'], clock: Clock, response: ServerResponse): Promise<void> {
  const lines = await Promise.all(
    Object.entries(checks).map(async ([name, check]) => {
      try {
        await withDeadline(clock, { ms: CHECK_MS, what: name }, async (signal) => check(signal));
        return { isWell: true, line: `[+] ${name}` };
      } catch (reason) {
        return { isWell: false, line: `[-] ${name}: ${AppError.from(reason).message}` };
      }
    }),
  );
  const status = lines.every(({ isWell }) => isWell) ? 200 : 503;
  const text = lines.map(({ line }) => `${line}\n`).join('');
  response.writeHead(status, { 'content-type': 'text/plain' }).end(text === '' ? 'ok\n' : text);
}
