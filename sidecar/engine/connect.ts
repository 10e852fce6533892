/** A connection to Redis as operator and sidecar want it: it fails fast, comes back by itself, and says why. */
import { isIP } from 'node:net';
import { Redis, type RedisOptions } from 'ioredis';
import { orAbort } from '../base/abort.ts';
import { AppError } from '../base/errors.ts';
import { storeError } from './redis-errors.ts';

export interface RedisSettings {
  /** `rediss://host[:port][/db]`, or `redis://…` to a loopback address only. Credentials in it are refused. */
  readonly url: string;
  readonly username: string | null;
  readonly password: string | null;
  /** PEM of the CA that signed the server's certificate; null: the system's. */
  readonly caPem: string | null;
}

export interface RedisConnection extends AsyncDisposable {
  readonly redis: Redis;
  /** Resolves once commands can be sent; rejects with the signal's reason. */
  ready(signal: AbortSignal): Promise<void>;
}

export interface ConnectOptions {
  /** Shown by `CLIENT LIST`. */
  readonly name: string;
  /** Told of each failed attempt and each broken connection. */
  readonly onError: (error: AppError) => void;
}

/** No answer for this long is an answer. Beats must be over within 2 s (rule T3). */
const COMMAND_TIMEOUT_MS = 2000;
const CONNECT_TIMEOUT_MS = 5000;
const MAX_RECONNECT_DELAY_MS = 1000;

/**
 * Connects in the background and reconnects for ever. While there is no connection, commands fail at once with
 * `unavailable`: a caller that waits in a queue here could be granted something it no longer wants.
 * Fails with code `invalid` when the settings would send data over a network in the clear.
 */
export function connectRedis(settings: RedisSettings, options: ConnectOptions): RedisConnection {
  const redis = new Redis(redisOptions(settings, options.name));
  redis.on('error', (error: unknown) => options.onError(storeError(error)));
  return {
    redis,
    ready: async (signal) => {
      if (redis.status === 'ready') return;
      const ready = Promise.withResolvers<void>();
      const tell = (): void => ready.resolve();
      redis.on('ready', tell);
      try {
        await orAbort(ready.promise, signal);
      } finally {
        redis.off('ready', tell);
      }
    },
    [Symbol.asyncDispose]: async () => {
      redis.disconnect();
    },
  };
}

function redisOptions(settings: RedisSettings, name: string): Omit<RedisOptions, 'replyMapping'> {
  const { host, port, db, tls } = parseUrl(settings.url);
  const secure: RedisOptions = { tls: { ...(isIP(host) === 0 ? { servername: host } : {}), ...caOf(settings) } };
  return {
    host,
    port,
    db,
    connectionName: name,
    ...(settings.username === null ? {} : { username: settings.username }),
    ...(settings.password === null ? {} : { password: settings.password }),
    ...(tls ? secure : {}),
    connectTimeout: CONNECT_TIMEOUT_MS,
    commandTimeout: COMMAND_TIMEOUT_MS,
    maxRetriesPerRequest: 1,
    enableOfflineQueue: false,
    // Batching commands that come together costs a third of the throughput here.
    enableAutoPipelining: false,
    retryStrategy: (attempt) => Math.min(50 * 2 ** Math.min(attempt, 10), MAX_RECONNECT_DELAY_MS),
    // The name now leads to another server, or will: a replica never grants anything.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
  };
}

function caOf({ caPem }: RedisSettings): { ca?: string } {
  return caPem === null ? {} : { ca: caPem };
}

function parseUrl(text: string): { host: string; port: number; db: number; tls: boolean } {
  const url = URL.parse(text);
  if (!url || !['redis:', 'rediss:'].includes(url.protocol) || url.hostname === '')
    throw new AppError('invalid', 'the Redis URL must look like rediss://host:port');
  if (url.username !== '' || url.password !== '')
    throw new AppError('invalid', 'credentials do not belong into the Redis URL');
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const tls = url.protocol === 'rediss:';
  if (!tls && !isLoopback(host))
    throw new AppError('invalid', `redis:// is for loopback addresses only, use rediss:// for ${host}`);
  const db = url.pathname.length > 1 ? Number(url.pathname.slice(1)) : 0;
  if (!Number.isInteger(db) || db < 0) throw new AppError('invalid', `not a database number: ${url.pathname}`);
  return { host, port: url.port === '' ? 6379 : Number(url.port), db, tls };
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
