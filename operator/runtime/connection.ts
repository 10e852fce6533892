/**
 * Sockets to the API server. client-node opens a connection per request; here one pool serves the calls and another
 * the watches, so that long-lived streams never starve a status update and a thousand calls share a few sockets.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { RequestOptions } from 'node:https';
import type { Readable } from 'node:stream';
import type { ConnectionOptions } from 'node:tls';
import type { KubeConfig } from '@kubernetes/client-node';
import { Agent, type Dispatcher, ProxyAgent, request as send } from 'undici';
import { orAbort } from '../../sidecar/base/abort.ts';
import type { Clock } from '../../sidecar/base/clock.ts';
import { AppError } from '../../sidecar/base/errors.ts';

/** Tokens and client certificates rotate on disk; they are read again this often, and at once after a 401. */
const CREDENTIALS_LIVE_MS = 10_000;
const CALL_CONNECTIONS = 16;
const CONNECT_MS = 10_000;
/** A peer that vanished without a FIN is noticed after this plus ten probes of a second. */
const KEEP_ALIVE_PROBE_MS = 15_000;

export type Pool = 'calls' | 'watches';
export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface WireRequest {
  readonly pool: Pool;
  readonly method: Method;
  /** Path and query, starting with a slash. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
}

export interface WireReply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Readable & { text(): Promise<string>; json(): Promise<unknown> };
}

interface Credentials {
  readonly readAtMs: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Changes when anything of the TLS set-up does. */
  readonly tlsKey: string;
  readonly dispatchers: Readonly<Record<Pool, Dispatcher>>;
}

export class Connection implements AsyncDisposable {
  readonly #config: KubeConfig;
  readonly #clock: Clock;
  readonly #origin: string;
  #credentials: Promise<Credentials> | undefined;

  /** Fails with `invalid` when the configuration names no cluster. */
  constructor(config: KubeConfig, clock: Clock) {
    const server = config.getCurrentCluster()?.server;
    if (server === undefined) throw new AppError('invalid', 'the Kubernetes configuration names no cluster');
    this.#config = config;
    this.#clock = clock;
    this.#origin = server.replace(/\/$/, '');
  }

  /** Sends one request. Fails with `unavailable` when no answer came, with the signal's reason when it aborts. */
  async send(request: WireRequest): Promise<WireReply> {
    const credentials = await this.#current();
    try {
      const reply = await send(`${this.#origin}${request.target}`, {
        method: request.method,
        headers: { ...credentials.headers, ...request.headers },
        body: request.body ?? null,
        signal: request.signal,
        dispatcher: credentials.dispatchers[request.pool],
      });
      if (reply.statusCode === 401) this.#credentials = undefined;
      return { status: reply.statusCode, headers: reply.headers, body: reply.body };
    } catch (reason) {
      request.signal.throwIfAborted();
      throw new AppError('unavailable', `the API server did not answer: ${messageOf(reason)}`, { cause: reason });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const credentials = await this.#credentials?.catch(() => undefined);
    this.#credentials = undefined;
    if (credentials !== undefined) {
      await Promise.all(Object.values(credentials.dispatchers).map((dispatcher) => dispatcher.destroy()));
    }
  }

  async #current(): Promise<Credentials> {
    const held = this.#credentials;
    const known = held === undefined ? undefined : await held;
    if (known !== undefined && this.#clock.monotonicMs() - known.readAtMs < CREDENTIALS_LIVE_MS) return known;
    if (this.#credentials === held) {
      const reading = this.#read(known);
      this.#credentials = reading;
      // A failed read must not be remembered: the next request tries again.
      reading.catch(() => {
        if (this.#credentials === reading) this.#credentials = undefined;
      });
    }
    return this.#credentials ?? this.#current();
  }

  async #read(previous: Credentials | undefined): Promise<Credentials> {
    const options: RequestOptions = {};
    try {
      await this.#config.applyToHTTPSOptions(options);
    } catch (reason) {
      throw new AppError('unauthenticated', `no credentials: ${messageOf(reason)}`, { cause: reason, transient: true });
    }
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(options.headers ?? {})) headers[name] = String(value);
    if (typeof options.auth === 'string') headers['Authorization'] = `Basic ${btoa(options.auth)}`;
    const readAtMs = this.#clock.monotonicMs();
    const tlsKey = tlsKeyOf(options);
    if (previous?.tlsKey === tlsKey) return { ...previous, readAtMs, headers };
    if (previous !== undefined) {
      // Streams under way end by themselves; close() waits for them and must not delay the next request.
      for (const dispatcher of Object.values(previous.dispatchers)) dispatcher.close().catch(() => undefined);
    }
    return { readAtMs, headers, tlsKey, dispatchers: this.#open(options) };
  }

  #open(options: RequestOptions): Record<Pool, Dispatcher> {
    const proxyUrl = this.#config.getCurrentCluster()?.proxyUrl;
    if (proxyUrl?.startsWith('socks')) throw new AppError('unsupported', 'no SOCKS proxy to the API server, please');
    const tls = tlsOf(options);
    const common = {
      // Our own deadlines and silence limits decide; undici's would cut quiet watches.
      headersTimeout: 0,
      bodyTimeout: 0,
      allowH2: false,
      connect: { ...tls, timeout: CONNECT_MS, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS },
    };
    const open = (connections: number | null): Dispatcher =>
      proxyUrl === undefined
        ? new Agent({ ...common, connections })
        : new ProxyAgent({ ...common, connections, uri: proxyUrl, requestTls: tls });
    return { calls: open(CALL_CONNECTIONS), watches: open(null) };
  }
}

const TLS_FIELDS = ['ca', 'cert', 'key', 'pfx', 'passphrase', 'rejectUnauthorized', 'servername'] as const;

type TlsMaterial = Pick<ConnectionOptions, (typeof TLS_FIELDS)[number]>;

function tlsOf(options: RequestOptions): TlsMaterial {
  return Object.fromEntries(
    TLS_FIELDS.flatMap((field) => (options[field] === undefined ? [] : [[field, options[field]]])),
  );
}

function tlsKeyOf(options: RequestOptions): string {
  return JSON.stringify(tlsOf(options));
}

function messageOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}

/** Reads a body to its end unless the signal aborts first; an aborted body is destroyed by undici. */
export async function readText(reply: WireReply, signal: AbortSignal): Promise<string> {
  try {
    return await orAbort(reply.body.text(), signal);
  } catch (reason) {
    signal.throwIfAborted();
    throw new AppError('unavailable', `the API server's answer broke off: ${messageOf(reason)}`, { cause: reason });
  }
}
