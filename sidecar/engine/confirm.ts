/** Calls that are told whether replicas have them, too: for what must not be forgotten by a fail-over. */
import type { Redis } from 'ioredis';
import { type Clock, systemClock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import { type Dialect, guarded, type Words } from './caller.ts';
import type { Operation } from './library.ts';
import { redirectOf } from './redis-errors.ts';
import {
  addressOf,
  COMMAND_TIMEOUT_MS,
  ownerOf,
  REDIRECT_DELAY_MS,
  type RedisClient,
  refreshTopology,
} from './topology.ts';

export interface Confirmation {
  /** Replicas that must have everything up to this call. */
  readonly replicas: number;
  /** How long the server waits for them; well below the command timeout. */
  readonly timeoutMs: number;
}

export interface Confirmed {
  readonly reply: unknown;
  /** False: the call was carried out, but a fail-over now may forget it. */
  readonly isReplicated: boolean;
}

export type ConfirmedCall = (
  operation: Operation,
  keys: readonly [string, ...string[]],
  args: readonly string[],
  confirmation: Confirmation,
  signal: AbortSignal | undefined,
) => Promise<Confirmed>;

/**
 * Sends the call and `WAIT` in one write. WAIT holds up whatever comes behind it, so these calls have a connection of their
 * own, opened with the first of them and closed with `redis`. Calls fail as those of `createCaller`.
 */
export function createConfirmer(redis: RedisClient, dialect: Dialect, clock: Clock = systemClock): ConfirmedCall {
  const lines = new Lines(redis);

  async function send(key: string, words: Words, confirmation: Confirmation): Promise<Confirmed> {
    const deadlineMs = clock.monotonicMs() + COMMAND_TIMEOUT_MS;
    let [address, isAsking]: [string | null, boolean] = [null, false];
    for (;;) {
      try {
        return await exchange(await lines.to(key, address), words, confirmation, isAsking);
      } catch (reason) {
        const redirect = redirectOf(reason);
        if (!redirect || clock.monotonicMs() >= deadlineMs) throw reason;
        [address, isAsking] = [redirect.address, redirect.kind === 'ask'];
        if (redirect.kind === 'moved') void refreshTopology(redis).catch(() => undefined);
      }
      await clock.sleep(REDIRECT_DELAY_MS);
    }
  }

  return (operation, keys, args, confirmation, signal) =>
    guarded(
      dialect.perform(operation, { keys, args }, (words) => send(keys[0], words, confirmation)),
      signal,
    );
}

async function exchange(line: Redis, words: Words, confirmation: Confirmation, isAsking: boolean): Promise<Confirmed> {
  const pipeline = line.pipeline();
  if (isAsking) pipeline.call('ASKING');
  const results = await pipeline
    .call(...words)
    .call('WAIT', confirmation.replicas, confirmation.timeoutMs)
    .exec();
  const [call, wait] = results?.slice(-2) ?? [];
  if (!call || !wait) throw new AppError('internal', 'a pipeline without results');
  const error = call[0] ?? wait[0];
  if (error) throw error;
  return { reply: call[1], isReplicated: Number(wait[1]) >= confirmation.replicas };
}

/** The connections of confirmed calls, one a server. */
class Lines {
  readonly #redis: RedisClient;
  readonly #lines = new Map<string, Line>();

  constructor(redis: RedisClient) {
    this.#redis = redis;
    redis.on('end', () => {
      for (const line of this.#lines.values()) line.redis.disconnect();
    });
  }

  /** A line that can be written to; `address`: not the one that is known to own the key. */
  async to(key: string, address: string | null): Promise<Redis> {
    const owner = ownerOf(this.#redis, key);
    const name = address ?? addressOf(owner);
    const line = this.#lines.get(name) ?? this.#open(owner, name, address);
    await line.opened;
    return line.redis;
  }

  #open(owner: Redis, name: string, address: string | null): Line {
    const redis = owner.duplicate({
      enableOfflineQueue: false,
      lazyConnect: true,
      ...(address === null ? {} : hostAndPort(address)),
    });
    // The main connection tells of the same errors.
    redis.on('error', () => undefined);
    redis.once('end', () => void this.#lines.delete(name));
    const opened = redis.connect().catch((reason: unknown) => {
      redis.disconnect();
      this.#lines.delete(name);
      throw reason;
    });
    const line = { redis, opened };
    this.#lines.set(name, line);
    return line;
  }
}

interface Line {
  readonly redis: Redis;
  readonly opened: Promise<void>;
}

function hostAndPort(address: string): { readonly host: string; readonly port: number } {
  const at = address.lastIndexOf(':');
  return { host: address.slice(0, at), port: Number(address.slice(at + 1)) };
}
