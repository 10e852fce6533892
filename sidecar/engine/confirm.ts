/** Calls that are told whether replicas have them, too: for what must not be forgotten by a fail-over. */
import type { Redis } from 'ioredis';
import { type Clock, systemClock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import { declaredKeys, type Dialect, guarded, type Params, type Words } from './caller.ts';
import type { Operation } from './library.ts';
import { type Hop, Lines, route } from './route.ts';
import type { RedisClient } from './topology.ts';

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
  params: Params,
  confirmation: Confirmation,
  signal: AbortSignal | undefined,
) => Promise<Confirmed>;

/**
 * Sends the call and `WAIT` in one write. WAIT holds up whatever comes behind it, so these calls have a connection of their
 * own, opened with the first of them and closed with `redis`. Calls fail as those of `createCaller`.
 */
export function createConfirmer(redis: RedisClient, dialect: Dialect, clock: Clock = systemClock): ConfirmedCall {
  const lines = new Lines(redis, clock);
  const connect = (owner: Redis, address: string | null): Promise<Redis> => lines.to(owner, address);
  return (operation, { keys, args }, confirmation, signal) => {
    const options = { redis, key: keys[0] ?? '', clock, connect };
    const send = (words: Words): Promise<Confirmed> => route(options, (hop) => exchange(hop, words, confirmation));
    return guarded(dialect.perform(operation, { keys: declaredKeys(redis, keys), args }, send), signal);
  };
}

async function exchange({ server, isAsking }: Hop, words: Words, confirmation: Confirmation): Promise<Confirmed> {
  const pipeline = server.pipeline();
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
