/** The engine's ports over Redis. One call is one function call: one round trip, atomic. */
import type { Redis } from 'ioredis';
import { orAbort } from '../base/abort.ts';
import { AppError } from '../base/errors.ts';
import { configKey, functionKeys, TREE_FIELD } from './keys.ts';
import { ENGINE_VERSION, loadLibrary, type LibraryVariant, type Operation } from './library.ts';
import type { AdminEngine, BeatReply, SidecarEngine } from './port.ts';
import { storeError } from './redis-errors.ts';
import * as reply from './replies.ts';
import { amountArguments, maybe, settlementArguments } from './requests.ts';
import type { Settlement, SettleReply, TreeKey } from './terms.ts';
import { configHash, encodeTree, hashOf } from './tree.ts';
import { parseTree, serializeTree } from './tree-text.ts';

/** Settlements, leases or beats that one function call carries; more go in several calls. */
const BATCH = 100;
const READ_ONLY: ReadonlySet<Operation> = new Set<Operation>(['snapshot', 'audit']);

export interface SidecarEngineOptions {
  readonly redis: Redis;
  readonly treeKey: TreeKey;
  /** Another build of the library; for tests. */
  readonly variant?: LibraryVariant;
}

export interface AdminEngineOptions {
  readonly redis: Redis;
  readonly variant?: LibraryVariant;
}

/**
 * A sidecar's view of one tree. It remembers the epoch it was told last, so that a settlement that is sent after Redis
 * lost its memory is answered `epoch` instead of being lost.
 */
export function createSidecarEngine({ redis, treeKey, variant }: SidecarEngineOptions): SidecarEngine {
  const call = caller(redis, variant);
  const keys = functionKeys(treeKey);
  let known: number | null = null;
  const learn = (epoch: number): void => {
    known = Math.max(known ?? 0, epoch);
  };

  async function settleBatch(batch: readonly Settlement[], signal?: AbortSignal): Promise<readonly SettleReply[]> {
    const args = [maybe(known), ...batch.flatMap(settlementArguments)];
    return reply.decodeSettled(await call('settle', keys, args, signal), batch.length);
  }

  return {
    async acquire(request, signal) {
      const { id, owner, leaf, model, generation, epoch, maxRuntimeMs } = request;
      const args = [id, owner, leaf, model, String(generation), maybe(epoch), String(maxRuntimeMs)];
      args.push(...amountArguments(request.reserve));
      const verdict = reply.decodeVerdict(await call('acquire', keys, args, signal), id);
      if (verdict.kind === 'granted') learn(verdict.epoch);
      return verdict;
    },
    async claim({ id, fence }, signal) {
      return reply.decodeNumber(await call('claim', keys, [id, String(fence)], signal)) === 1;
    },
    async settle(settlements, signal) {
      const replies: SettleReply[] = [];
      for (const batch of batches(settlements)) replies.push(...(await settleBatch(batch, signal)));
      return replies;
    },
    async cancel(id, signal) {
      await call('cancel', keys, [id], signal);
    },
    async beat({ owner, epoch, leases }, signal) {
      const answers: Alive[] = [];
      for (const batch of batches(leases, 1)) {
        const args = [owner, maybe(epoch), ...batch.flatMap(({ id, fence }) => [id, String(fence)])];
        const answer = reply.decodeBeat(await call('beat', keys, args, signal));
        if (answer.kind === 'epoch') return answer;
        answers.push(answer);
      }
      const [first] = answers;
      if (!first) throw new AppError('internal', 'a beat without an answer');
      learn(first.epoch);
      return { ...first, lost: answers.flatMap(({ lost }) => lost) };
    },
    async register({ owner, leases, disclaimed }, signal) {
      let epoch = 0;
      // Leases first: a call expires what is due, and these must not be among it.
      for (const batch of batches(leases, 1)) {
        const records = batch.flatMap(({ lease, request, sent }) => [
          lease.id,
          String(lease.fence),
          request.leaf,
          request.model,
          sent ? '1' : '0',
          String(request.maxRuntimeMs),
          ...amountArguments(request.reserve),
        ]);
        epoch = reply.decodeNumber(await call('register', keys, [owner, '0', ...records], signal));
      }
      for (const ids of batches(disclaimed)) {
        epoch = reply.decodeNumber(await call('register', keys, [owner, String(ids.length), ...ids], signal));
      }
      learn(epoch);
      return { epoch };
    },
    async snapshot(signal) {
      return reply.decodeSnapshot(await call('snapshot', keys, [], signal), treeKey);
    },
  };
}

/** The operator's view of all trees of a server. */
export function createAdminEngine({ redis, variant }: AdminEngineOptions): AdminEngine {
  const call = caller(redis, variant);
  return {
    async loadLibrary(signal) {
      await guarded(loadLibrary(redis, variant), signal);
    },
    async configure(tree, revision, _options, signal) {
      const encoded = encodeTree(tree);
      const { leaseCreatedMs, transitions, generation } = revision;
      const order = [leaseCreatedMs, transitions, generation].map(String);
      const args = [...encoded.account, ...order, hashOf(encoded), serializeTree(tree), ...encoded.body];
      const keys = [...functionKeys(tree.key), configKey(tree.key)];
      return reply.decodeConfigured(await call('configure', keys, args, signal));
    },
    hashOf: configHash,
    async config(key, signal) {
      const text = await guarded(redis.hget(configKey(key), TREE_FIELD), signal);
      return text === null ? null : parseTree(text);
    },
    async snapshot(key, signal) {
      return reply.decodeSnapshot(await call('snapshot', functionKeys(key), [], signal), key);
    },
    async audit(key, signal) {
      return reply.decodeAudit(await call('audit', functionKeys(key), [], signal), key);
    },
  };
}

type Alive = Extract<BeatReply, { kind: 'alive' }>;

type Call = (
  operation: Operation,
  keys: readonly string[],
  args: readonly string[],
  signal: AbortSignal | undefined,
) => Promise<unknown>;

function caller(redis: Redis, variant: LibraryVariant | undefined): Call {
  const prefix = variant?.version ?? ENGINE_VERSION;
  return (operation, keys, args, signal) => {
    const command = READ_ONLY.has(operation) ? 'FCALL_RO' : 'FCALL';
    return guarded(redis.call(command, `${prefix}_${operation}`, keys.length, ...keys, ...args), signal);
  };
}

async function guarded<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  try {
    return await (signal ? orAbort(promise, signal) : promise);
  } catch (error) {
    // After an abort nobody waits for the answer any more; it must not become an unhandled rejection.
    promise.catch(() => undefined);
    throw storeError(error);
  }
}

/** At least `min` batches, so that an empty list still makes a call where one is due. */
function batches<T>(items: readonly T[], min = 0): readonly (readonly T[])[] {
  const count = Math.max(min, Math.ceil(items.length / BATCH));
  return Array.from({ length: count }, (_, index) => items.slice(index * BATCH, (index + 1) * BATCH));
}
