/**
 * The way of one call to the server that owns its tree. In a cluster that server may be about to change: redirects are
 * followed here and not by the client, which goes on after its caller was told that nothing came of it.
 */
import { orAbort, withDeadline } from '../base/abort.ts';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import type { Redis } from 'ioredis';
import { redirectOf } from './redis-errors.ts';
import {
  addressOf,
  COMMAND_TIMEOUT_MS,
  isCluster,
  nodeAt,
  ownerOf,
  REDIRECT_DELAY_MS,
  type RedisClient,
  refreshTopology,
} from './topology.ts';

/** Where a call is sent: `isAsking`: the slot is on its way there, and the server serves only those who say that they know. */
export interface Hop {
  readonly server: Redis;
  readonly isAsking: boolean;
}

export interface RouteOptions {
  readonly redis: RedisClient;
  /** Any key of the tree. */
  readonly key: string;
  readonly clock: Clock;
  /** The connection to use, as far as it can be used; `address`: to another server than the owner that is known. */
  readonly connect: (owner: Redis, address: string | null, signal: AbortSignal | null) => Promise<Redis>;
}

/**
 * Makes the attempt, again while a cluster says that the tree is elsewhere or on the move. Nothing is sent any more once it
 * failed, with `unavailable` after the command timeout or with the last answer.
 */
export async function route<T>(options: RouteOptions, attempt: (hop: Hop) => Promise<T>): Promise<T> {
  const { redis, clock } = options;
  if (!isCluster(redis)) return attempt({ server: await options.connect(redis, null, null), isAsking: false });
  let last: unknown;
  const limit = { ms: COMMAND_TIMEOUT_MS, what: 'finding the tree in the Redis cluster' };
  try {
    return await withDeadline(clock, limit, (signal) => follow(options, attempt, (reason) => (last = reason), signal));
  } catch (reason) {
    throw reason instanceof AppError && reason.code === 'deadline' ? unavailable(last ?? reason) : reason;
  }
}

async function follow<T>(
  options: RouteOptions,
  attempt: (hop: Hop) => Promise<T>,
  note: (reason: unknown) => void,
  signal: AbortSignal,
): Promise<T> {
  const { redis, key, clock, connect } = options;
  let address: string | null = null;
  let isAsking = false;
  for (;;) {
    try {
      const server = await connect(ownerOf(redis, key), address, signal);
      return await attempt({ server, isAsking });
    } catch (reason) {
      signal.throwIfAborted();
      const redirect = redirectOf(reason);
      if (redirect === null) throw reason;
      note(reason);
      address = redirect.address;
      isAsking = redirect.kind === 'ask';
      if (redirect.kind !== 'ask') void refreshTopology(redis).catch(() => undefined);
    }
    await clock.sleep(REDIRECT_DELAY_MS, signal);
  }
}

function unavailable(reason: unknown): AppError {
  const message = reason instanceof Error ? reason.message : String(reason);
  return new AppError('unavailable', `Redis cannot be asked: ${message}`, { cause: reason });
}

/** Connected; a command that waited in the client's queue could be sent when nobody waits for it any more. */
async function untilUsable(server: Redis, signal: AbortSignal): Promise<void> {
  if (server.status === 'ready') return;
  if (server.status === 'wait') return orAbort(server.connect(), signal);
  const opened = Promise.withResolvers<void>();
  const onEnd = (): void => opened.reject(new AppError('unavailable', 'the connection to Redis broke'));
  const onReady = (): void => opened.resolve();
  server.once('end', onEnd).once('ready', onReady);
  try {
    if (server.status === 'end') onEnd();
    await orAbort(opened.promise, signal);
  } finally {
    server.off('end', onEnd).off('ready', onReady);
  }
}

/** Of clients with lines beside them: one listener a client, however many engines use it. */
const beside = new WeakMap<RedisClient, Set<Lines>>();

function closeWith(redis: RedisClient, lines: Lines): void {
  const known = beside.get(redis);
  if (known !== undefined) return void known.add(lines);
  const all = new Set([lines]);
  beside.set(redis, all);
  redis.on('end', () => {
    for (const each of all) each.close();
    all.clear();
  });
}

/** Connections beside those of the client, one a server, opened when they are wanted and closed with the client. */
export class Lines {
  readonly #lines = new Map<string, Redis>();
  readonly #redis: RedisClient;
  readonly #clock: Clock;

  constructor(redis: RedisClient, clock: Clock) {
    this.#redis = redis;
    this.#clock = clock;
  }

  close(): void {
    for (const line of this.#lines.values()) line.disconnect();
    this.#lines.clear();
  }

  /** A connection like `like`, to `address` or to the same server, once it stands. */
  async to(like: Redis, address: string | null): Promise<Redis> {
    const name = address ?? addressOf(like);
    const found = this.#lines.get(name);
    // A line that was opened with an older password may never stand again.
    const isUsable = found?.status !== 'end' && found?.options.password === like.options.password;
    if (found && !isUsable) found.disconnect();
    const line = found && isUsable ? found : this.#open(like, name, address);
    const limit = { ms: COMMAND_TIMEOUT_MS, what: 'another connection to Redis' };
    await withDeadline(this.#clock, limit, (signal) => untilUsable(line, signal));
    return line;
  }

  #open(like: Redis, name: string, address: string | null): Redis {
    const line = like.duplicate({
      enableOfflineQueue: false,
      lazyConnect: true,
      ...(address === null ? {} : hostAndPort(address)),
    });
    // The client tells of the same errors.
    line.on('error', () => undefined);
    this.#lines.set(name, line);
    closeWith(this.#redis, this);
    return line;
  }
}

/** The client's own connection to that server, or one beside it: a server without slots is not known to the client. */
export function inPoolOr(lines: Lines, redis: RedisClient): RouteOptions['connect'] {
  return async (owner, address, signal) => {
    const server = address === null ? owner : nodeAt(redis, address);
    if (server === null) return lines.to(owner, address);
    if (signal !== null) await untilUsable(server, signal);
    return server;
  };
}

function hostAndPort(address: string): { readonly host: string; readonly port: number } {
  const at = address.lastIndexOf(':');
  return { host: address.slice(0, at), port: Number(address.slice(at + 1)) };
}
