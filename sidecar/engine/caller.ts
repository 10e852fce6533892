/** How an operation gets to the server and its reply back: as a function of the library, or as a script by its hash. */
import { orAbort } from '../base/abort.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import {
  assembleScript,
  type LibraryVariant,
  loadLibrary,
  loadScripts,
  type Operation,
  OPERATION_FLAGS,
  PRODUCTION,
  type Script,
} from './library.ts';
import { isFormRefused, isNoScript, storeError } from './redis-errors.ts';
import { type Hop, inPoolOr, Lines, route } from './route.ts';
import { isCluster, mastersOf, type RedisClient } from './topology.ts';

/** `functions`: FCALL of a library that was loaded before. `scripts`: EVALSHA, for servers without functions. */
export type Form = 'functions' | 'scripts';

export interface CallerOptions {
  /** Another build of the Lua; for tests. */
  readonly variant?: LibraryVariant | undefined;
  /** Default: functions where the server has them and this user may call them, else scripts. */
  readonly form?: Form | undefined;
}

export type Call = (
  operation: Operation,
  keys: readonly string[],
  args: readonly string[],
  signal: AbortSignal | undefined,
) => Promise<unknown>;

/** A command and its arguments. */
export type Words = readonly [string, ...(string | number)[]];

/** What can carry one operation; `send` may be asked several times until the server understands the words. */
export interface Dialect {
  perform<T>(operation: Operation, params: Params, send: (words: Words) => Promise<T>): Promise<T>;
  /** Brings the Lua to every master: the library, or the scripts where there are no functions. */
  load(redis: RedisClient): Promise<void>;
}

export interface Params {
  readonly keys: readonly string[];
  readonly args: readonly string[];
}

/** Calls fail as `storeError` says, or with the signal's reason; an aborted call may still be carried out. */
export function createCaller(redis: RedisClient, dialect: Dialect, clock: Clock = systemClock): Call {
  const connect = inPoolOr(new Lines(redis, clock), redis);
  return (operation, keys, args, signal) => {
    const options = { redis, key: keys[0] ?? '', clock, connect };
    const send = (words: Words): Promise<unknown> => route(options, (hop) => exchange(hop, words));
    return guarded(dialect.perform(operation, { keys: declaredKeys(redis, keys), args }, send), signal);
  };
}

async function exchange({ server, isAsking }: Hop, words: Words): Promise<unknown> {
  if (!isAsking) return server.call(...words);
  // In one write: what somebody else sends must not come between the two.
  const results = await server
    .pipeline()
    .call('ASKING')
    .call(...words)
    .exec();
  const [error, reply] = results?.[1] ?? [];
  if (error) throw error;
  return reply;
}

/**
 * The keys of a call as the server is told them. A server of a cluster whose slot is on the move runs a call as long as it
 * has all keys, but breaks it off in the middle, with half of its writes done, once one of them became empty. With a key
 * that never exists it never begins: such calls are answered TRYAGAIN until the slot has arrived.
 */
export function declaredKeys(redis: RedisClient, keys: readonly string[]): readonly string[] {
  const [first] = keys;
  if (first === undefined || !isCluster(redis)) return keys;
  return [...keys, `${first.slice(0, first.lastIndexOf(':'))}:never`];
}

/** Waits for what Redis is asked. Fails as `storeError` says, or with the signal's reason. */
export async function guarded<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  try {
    return await (signal ? orAbort(promise, signal) : promise);
  } catch (error) {
    // After an abort nobody waits for the answer any more; it must not become an unhandled rejection.
    promise.catch(() => undefined);
    throw storeError(error);
  }
}

export function createDialect({ variant = PRODUCTION, form: fixed }: CallerOptions = {}): Dialect {
  const scripts = new Map<Operation, Script>();
  let form: Form = fixed ?? 'functions';

  /** Does the work in the form that was understood last; if this server or user does not know it, in the other one. */
  async function inEither<T>(work: (form: Form) => Promise<T>): Promise<T> {
    try {
      return await work(form);
    } catch (reason) {
      if (fixed !== undefined || !isFormRefused(reason)) throw reason;
      const other = form === 'functions' ? 'scripts' : 'functions';
      const result = await work(other).catch((second: unknown) => {
        throw isFormRefused(second) ? reason : second;
      });
      form = other;
      return result;
    }
  }

  function scriptOf(operation: Operation): Script {
    const script = scripts.get(operation) ?? assembleScript(operation, variant);
    scripts.set(operation, script);
    return script;
  }

  return {
    perform: (operation, { keys, args }, send) =>
      inEither(async (each) => {
        const rest = [keys.length, ...keys, ...args];
        const suffix = OPERATION_FLAGS[operation].includes('no-writes') ? '_RO' : '';
        if (each === 'functions') return send([`FCALL${suffix}`, `${variant.version}_${operation}`, ...rest]);
        const { sha, text } = scriptOf(operation);
        try {
          return await send([`EVALSHA${suffix}`, sha, ...rest]);
        } catch (reason) {
          if (!isNoScript(reason)) throw reason;
          // EVAL loads and runs in one step, on the very server that is asked: nothing can come between the two.
          return send([`EVAL${suffix}`, text, ...rest]);
        }
      }),
    load: (redis) =>
      inEither(async (each) => {
        const load = each === 'functions' ? loadLibrary : loadScripts;
        for (const master of await mastersOf(redis)) await load(master, variant);
      }),
  };
}
