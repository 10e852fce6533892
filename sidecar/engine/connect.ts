/** A connection to Redis as operator and sidecar want it: it fails fast, comes back by itself, and says why. */
import { isIP } from 'node:net';
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { type Clock, systemClock } from '../base/clock.ts';
import type { AppError } from '../base/errors.ts';
import { jitter } from '../base/ids.ts';
import { storeError } from './redis-errors.ts';
import { parseRedisUrl, type RedisPlace } from './redis-url.ts';
import { type Subscriber, subscribe } from './subscriptions.ts';
import {
  COMMAND_TIMEOUT_MS,
  isCluster,
  REDIRECT_DELAY_MS,
  type RedisClient,
  untilEvent,
  untilReady,
} from './topology.ts';

export interface RedisSettings {
  /** As `parseRedisUrl` takes it. Credentials in it are refused. */
  readonly url: string;
  readonly username: string | null;
  readonly password: string | null;
  /** PEM of the CA that signed the servers' certificates; null: the system's. */
  readonly caPem: string | null;
  /** For the Sentinels, which have users of their own; absent: they ask for none. */
  readonly sentinel?: RedisUser;
}

export interface RedisUser {
  readonly username: string;
  readonly password: string;
}

export interface RedisConnection extends AsyncDisposable {
  readonly redis: RedisClient;
  /** Resolves once commands can be sent; rejects with the signal's reason. */
  ready(signal: AbortSignal): Promise<void>;
  /** Gives up the connection, whatever it waits for, and resolves once there is a new one (rule T3). */
  reconnect(signal: AbortSignal): Promise<void>;
  /** Logs in with this password from the next connection on: whoever takes the old one away closes those that stand. */
  authenticate(password: string): void;
  /**
   * Listens to a sharded channel on this very connection until the signal aborts, wherever the channel's slot moves;
   * `onSubscribed` is told each time it stands again, because what was published meanwhile is lost. One subscriber a channel.
   */
  subscribe(channel: string, subscriber: Subscriber, signal: AbortSignal): void;
}

export interface ConnectOptions {
  /** Shown by `CLIENT LIST`. */
  readonly name: string;
  /** Told of each failed attempt and each broken connection. */
  readonly onError: (error: AppError) => void;
  readonly clock?: Clock;
}

const CONNECT_TIMEOUT_MS = 5000;
/** A server that does not even say good-bye is not waited for: somebody wants a fresh connection. */
const DISCONNECT_TIMEOUT_MS = 100;
const MAX_RECONNECT_DELAY_MS = 1000;

/**
 * Connects in the background and reconnects for ever. While there is no connection, commands fail at once with
 * `unavailable`: a caller that waits in a queue here could be granted something it no longer wants.
 * Fails with code `invalid` when the settings would send data over a network in the clear.
 */
export function connectRedis(settings: RedisSettings, options: ConnectOptions): RedisConnection {
  const { onError, clock = systemClock } = options;
  const redis = open(settings, options.name);
  const disposed = new AbortController();
  redis.on('error', (error: unknown) => onError(storeError(error)));
  redis.on('node error', (error: unknown) => onError(storeError(error)));
  redis.on('end', () => void revive(redis, clock, disposed.signal));
  return {
    redis,
    ready: async (signal) => untilReady(redis, signal),
    reconnect: async (signal) => {
      // Interrupted while it connects, the client would give up for good; and what connects is fresh.
      if (redis.status === 'ready') {
        const closed = untilEvent(redis, 'close', signal);
        redis.disconnect(true);
        await closed;
      }
      await untilReady(redis, signal);
    },
    authenticate: (password) => authenticate(redis, password),
    subscribe: (channel, subscriber, signal) => {
      const until = AbortSignal.any([signal, disposed.signal]);
      void subscribe({ redis, channel, subscriber, clock, onError }, until);
    },
    [Symbol.asyncDispose]: async () => {
      disposed.abort();
      redis.disconnect();
    },
  };
}

/** The client has no word for it, but reads its options whenever it connects. */
function authenticate(redis: RedisClient, password: string): void {
  if (!isCluster(redis)) {
    redis.options.password = password;
    return;
  }
  const { connectionPool } = redis as unknown as { readonly connectionPool: { readonly redisOptions: RedisOptions } };
  const servers = redis.nodes('all').map(({ options }) => options);
  for (const options of [redis.options.redisOptions, connectionPool.redisOptions, ...servers])
    if (options) options.password = password;
}

/** The client gives up when what leads to the server fails, e.g. the look-up of the master: begin anew. */
async function revive(redis: RedisClient, clock: Clock, disposed: AbortSignal): Promise<void> {
  const rested = await clock.sleep(MAX_RECONNECT_DELAY_MS, disposed).then(
    () => true,
    () => false,
  );
  if (rested && redis.status === 'end') await redis.connect().catch(() => undefined);
}

function open(settings: RedisSettings, name: string): RedisClient {
  const place = parseRedisUrl(settings.url);
  const common = commonOptions(settings, place, name);
  switch (place.kind) {
    case 'single':
      return new Redis({ ...common, ...place.hosts[0], db: place.db, ...failingFast() });
    case 'sentinel':
      return new Redis({ ...common, ...sentinelOptions(settings, place), ...failingFast() });
    case 'cluster':
      return new Cluster([...place.hosts], {
        redisOptions: common,
        enableOfflineQueue: false,
        // The servers' own check is enough; this one would open a connection to a server at random.
        enableReadyCheck: false,
        // Certificates name hosts, not the addresses that a look-up would put in their place.
        dnsLookup: (host, callback) => callback(null, host),
        clusterRetryStrategy: reconnectDelay,
        slotsRefreshTimeout: COMMAND_TIMEOUT_MS,
        // Together more than the command timeout, which ends it: a slot on the move is waited for.
        maxRedirections: 2 * (COMMAND_TIMEOUT_MS / REDIRECT_DELAY_MS),
        retryDelayOnMoved: REDIRECT_DELAY_MS,
        retryDelayOnTryAgain: REDIRECT_DELAY_MS,
        retryDelayOnClusterDown: REDIRECT_DELAY_MS,
        retryDelayOnFailover: REDIRECT_DELAY_MS,
      });
  }
}

type Options = Omit<RedisOptions, 'replyMapping'>;

function commonOptions(settings: RedisSettings, place: RedisPlace, name: string): Options {
  return {
    // RESP3: one connection carries commands and subscriptions.
    protocol: 3,
    connectionName: name,
    disableClientInfo: true,
    ...(settings.username === null ? {} : { username: settings.username }),
    ...(settings.password === null ? {} : { password: settings.password }),
    ...(place.tls ? { tls: tlsOptions(settings, place) } : {}),
    connectTimeout: CONNECT_TIMEOUT_MS,
    disconnectTimeout: DISCONNECT_TIMEOUT_MS,
    commandTimeout: COMMAND_TIMEOUT_MS,
    maxRetriesPerRequest: 1,
    // Batching commands that come together costs a third of the throughput here.
    enableAutoPipelining: false,
    // Its failure would be an unhandled rejection, and nobody would hear of its success; see subscriptions.ts.
    autoResubscribe: false,
    // The name now leads to another server, or will: a replica never grants anything.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
  };
}

function failingFast(): Options {
  return { enableOfflineQueue: false, retryStrategy: reconnectDelay };
}

/** Thousands lose their connection at once: they must not come back at once. */
function reconnectDelay(attempt: number): number {
  const most = Math.min(50 * 2 ** Math.min(attempt, 10), MAX_RECONNECT_DELAY_MS);
  return most * (0.5 + 0.5 * jitter());
}

/** Sentinels and clusters name their servers themselves: there is no one name to ask for. */
function tlsOptions({ caPem }: RedisSettings, { kind, hosts }: RedisPlace): { ca?: string; servername?: string } {
  const [{ host }] = hosts;
  return {
    ...(kind === 'single' && isIP(host) === 0 ? { servername: host } : {}),
    ...(caPem === null ? {} : { ca: caPem }),
  };
}

function sentinelOptions(settings: RedisSettings, place: RedisPlace): Options {
  const { sentinel } = settings;
  return {
    sentinels: [...place.hosts],
    name: place.master,
    ...(place.tls ? { enableTLSForSentinelMode: true, sentinelTLS: tlsOptions(settings, place) } : {}),
    ...(sentinel ? { sentinelUsername: sentinel.username, sentinelPassword: sentinel.password } : {}),
    sentinelCommandTimeout: COMMAND_TIMEOUT_MS,
    sentinelRetryStrategy: reconnectDelay,
    // A master that fails over closes its connections or answers READONLY, and a beat that is not answered asks the
    // Sentinels anew: listening to each of them would cost every sidecar a connection more per Sentinel.
    failoverDetector: false,
  };
}
