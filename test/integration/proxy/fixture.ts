import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createCell } from '#sidecar/base/cell.ts';
import { systemClock } from '#sidecar/base/clock.ts';
import type { AppError } from '#sidecar/base/errors.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import { createLeaseDesk } from '#sidecar/leases/desk.ts';
import { Gateway } from '#sidecar/proxy/gateway.ts';
import { ProxyServer } from '#sidecar/proxy/server.ts';
import { createUpstreams } from '#sidecar/proxy/upstream.ts';
import { metricsForTest, quiet, snapshotOf } from '#test/unit/leases/fixtures.ts';
import { ScriptedEngine } from '#test/unit/leases/scripted-engine.ts';

export interface TestGateway extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  readonly engine: ScriptedEngine;
  /** Requests that are not answered. */
  readonly active: number;
  metrics(): Promise<string>;
}

export interface TestGatewayOptions {
  readonly upstream: Partial<SidecarSnapshot['upstream']> & { readonly origin: string };
  readonly binding?: Partial<SidecarSnapshot['binding']>;
  readonly configured?: boolean;
  /** What the operator said when it took the configuration away. */
  readonly refused?: AppError;
  readonly bodyLimitBytes?: number;
  readonly idleMs?: number;
}

/** The whole proxy side over real sockets, with an engine that answers as told. */
export async function startGateway(options: TestGatewayOptions): Promise<TestGateway> {
  const base = snapshotOf(options.binding);
  const errors = [
    { code: '1302', class: 'Concurrency' },
    { code: '1303', class: 'Rate' },
    { code: '1305', class: 'Overload' },
    { code: '1113', class: 'AccountStop' },
    { code: '1308', class: 'Quota' },
    { code: '1214', class: 'ClientError' },
  ] as const;
  const snapshot = {
    ...base,
    catalog: { ...base.catalog, errors },
    upstream: { ...base.upstream, ...options.upstream },
  };
  const engine = new ScriptedEngine();
  const snapshots = createCell<SidecarSnapshot | null>(options.configured === false ? null : snapshot);
  const refusals = createCell<AppError | null>(options.refused ?? null);
  const { metrics, registry } = metricsForTest();
  const clock = systemClock;
  const desk = createLeaseDesk({
    snapshots,
    openEngine: () => engine.opened(),
    processId: 'test',
    clock,
    log: quiet,
    metrics,
  });
  const upstreams = createUpstreams(options.idleMs ?? 30_000);
  const bodyLimitBytes = options.bodyLimitBytes ?? 1024 * 1024;
  const gateway = new Gateway({ desk, snapshots, refusals, upstreams, bodyLimitBytes, clock, log: quiet, metrics });
  const server = new ProxyServer(gateway);
  const port = await server.listen(0);
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    engine,
    get active() {
      return server.active;
    },
    metrics: () => registry.metrics(),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await upstreams[Symbol.asyncDispose]();
      await desk[Symbol.asyncDispose]();
    },
  };
}

/** A vendor made of bare sockets: notes every byte it gets and answers what it is told, byte for byte. */
export class RawVendor implements AsyncDisposable {
  readonly received: Buffer[] = [];
  readonly sockets: Socket[] = [];
  /** Called once a request's body is complete. */
  onRequest: (socket: Socket, text: string) => void = (socket) => socket.end();
  readonly #server = createServer((socket) => this.#accept(socket));

  static async start(): Promise<RawVendor> {
    const vendor = new RawVendor();
    vendor.#server.listen(0, '127.0.0.1');
    await once(vendor.#server, 'listening');
    return vendor;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get text(): string {
    return Buffer.concat(this.received).toString('latin1');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(socket: Socket): void {
    this.sockets.push(socket);
    let pending = '';
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      this.received.push(chunk);
      pending += chunk.toString('latin1');
      const head = pending.indexOf('\r\n\r\n');
      const length = /content-length: (\d+)/i.exec(pending)?.[1] ?? '0';
      if (head < 0 || pending.length < head + 4 + Number(length)) return;
      const request = pending;
      pending = '';
      this.onRequest(socket, request);
    });
  }
}

/** Sends bytes over a fresh connection and gives all that comes back until the other side closes it. */
export async function exchange(port: number, bytes: string | Buffer): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.on('error', () => undefined);
  socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  await once(socket, 'close');
  return Buffer.concat(chunks).toString('latin1');
}

/** Waits for a condition; fails after `ms`. */
export async function until(condition: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  const giveUpAt = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > giveUpAt) throw new Error('the condition did not come true in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
