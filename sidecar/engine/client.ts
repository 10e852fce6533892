/** The engine's ports over Redis. One call is one function call: one round trip, atomic. */
import { createHash } from 'node:crypto';
import { AppError } from '../base/errors.ts';
import { type CallerOptions, createCaller, createDialect, guarded } from './caller.ts';
import { createConfirmer } from './confirm.ts';
import type { RedisConnection } from './connect.ts';
import { configKey, functionKeys, MOVE_FIELD, noticeChannel, TREE_FIELD } from './keys.ts';
import { notices } from './notices.ts';
import type { AdminEngine, BeatReply, BeatRequest, SidecarEngine } from './port.ts';
import * as reply from './replies.ts';
import { callArguments, maybe, settlementArguments } from './requests.ts';
import type { Settlement, SettleReply, Verdict } from './terms.ts';
import type { TreeKey } from './tree-terms.ts';
import type { RedisClient } from './topology.ts';
import { configHash, encodeTree, hashOf } from './tree.ts';
import { parseTree, serializeTree } from './tree-text.ts';

/** Settlements, leases or beats that one function call carries; more go in several calls. */
const BATCH = 100;

export interface SidecarEngineOptions extends CallerOptions {
  readonly redis: RedisClient;
  readonly treeKey: TreeKey;
  /** How notices arrive; absent: only beats tell them. */
  readonly subscribe?: RedisConnection['subscribe'];
}

export interface AdminEngineOptions extends CallerOptions {
  readonly redis: RedisClient;
}

/** Replicas that confirm a claim of a strict tree, and how long they may take. */
const CONFIRMATION = { replicas: 1, timeoutMs: 500 };

/**
 * A sidecar's view of one tree. It remembers the epoch it was told last, so that a settlement that is sent after Redis
 * lost its memory is answered `epoch` instead of being lost.
 */
export function createSidecarEngine({ redis, treeKey, subscribe, ...form }: SidecarEngineOptions): SidecarEngine {
  const dialect = createDialect(form);
  const call = createCaller(redis, dialect);
  const confirmed = createConfirmer(redis, dialect);
  const keys = functionKeys(treeKey);
  let known: number | null = null;
  const learn = (epoch: number): void => {
    known = Math.max(known ?? 0, epoch);
  };
  const learnFrom = (verdict: Verdict): Verdict => {
    if (verdict.kind === 'granted' || verdict.kind === 'queued') learn(verdict.epoch);
    return verdict;
  };

  async function settleBatch(batch: readonly Settlement[], signal?: AbortSignal): Promise<readonly SettleReply[]> {
    const args = [maybe(known), ...batch.flatMap(settlementArguments)];
    return reply.decodeSettled(await call('settle', keys, args, signal), batch.length);
  }

  return {
    async acquire(request, signal) {
      const { id, owner, generation, epoch } = request;
      const args = [id, owner, String(generation), maybe(epoch), ...callArguments(request)];
      return learnFrom(reply.decodeVerdict(await call('acquire', keys, args, signal), id));
    },
    async claim({ id, fence }, { confirm = false } = {}, signal) {
      const args = [id, String(fence)];
      if (!confirm) return reply.decodeNumber(await call('claim', keys, args, signal)) === 1;
      const answer = await confirmed('claim', { keys, args }, CONFIRMATION, signal);
      if (!answer.isReplicated) throw new AppError('unavailable', 'no replica of Redis has confirmed the lease');
      return reply.decodeNumber(answer.reply) === 1;
    },
    async settle(settlements, signal) {
      const replies: SettleReply[] = [];
      for (const batch of batches(settlements)) replies.push(...(await settleBatch(batch, signal)));
      return replies;
    },
    async swap(settlement, next, signal) {
      const { id, owner, generation } = next;
      const args = [maybe(known), ...settlementArguments(settlement), id, owner, String(generation)];
      const swapped = reply.decodeSwap(await call('swap', keys, [...args, ...callArguments(next)], signal), id);
      return { ...swapped, verdict: learnFrom(swapped.verdict) };
    },
    async cancel(id, { keepPlace = false } = {}, signal) {
      await call('cancel', keys, [id, keepPlace ? '1' : '0'], signal);
    },
    async tick(signal) {
      return reply.decodeTick(await call('tick', keys, [], signal));
    },
    notices: (owner, signal, opened) => notices(subscribe, noticeChannel(treeKey, owner), signal, opened),
    async beat(request, signal) {
      const answers: Alive[] = [];
      for (const args of beatArguments(request)) {
        const answer = reply.decodeBeat(await call('beat', keys, args, signal));
        if (answer.kind === 'epoch') return answer;
        answers.push(answer);
      }
      const last = answers.at(-1);
      if (!last) throw new AppError('internal', 'a beat without an answer');
      learn(last.epoch);
      return {
        ...last,
        serverNowMs: answers[0]?.serverNowMs ?? last.serverNowMs,
        lost: answers.flatMap(({ lost }) => lost),
        waiting: answers.flatMap(({ waiting }) => waiting),
        notices: answers.flatMap((answer) => answer.notices),
      };
    },
    async register({ owner, leases, disclaimed }, signal) {
      let epoch = 0;
      // Leases first: a call expires what is due, and these must not be among it.
      for (const batch of batches(leases, 1)) {
        const records = batch.flatMap(({ lease, request, sent }) => [
          lease.id,
          String(lease.fence),
          sent ? '1' : '0',
          ...callArguments(request),
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

/** The arguments of each call that one beat takes: the leases, then the waiters. */
function beatArguments({ owner, epoch, leases, waiters }: BeatRequest): readonly (readonly string[])[] {
  const head = [owner, maybe(epoch)];
  const held = batches(leases, 1).map((batch) => [
    ...head,
    String(batch.length),
    ...batch.flatMap(({ id, fence }) => [id, String(fence)]),
  ]);
  const [first = [], ...more] = batches(waiters);
  const last = held.pop() ?? [];
  return [...held, [...last, ...first], ...more.map((batch) => [...head, '0', ...batch])];
}

/** The operator's view of all trees of a server. */
export function createAdminEngine({ redis, ...form }: AdminEngineOptions): AdminEngine {
  const dialect = createDialect(form);
  const call = createCaller(redis, dialect);
  const govern = async (key: TreeKey, args: readonly string[], signal?: AbortSignal): Promise<unknown> =>
    call('govern', [...functionKeys(key), configKey(key)], args, signal);
  return {
    async loadLibrary(signal) {
      await guarded(dialect.load(redis), signal);
    },
    async configure(tree, revision, { lost = false, checkpoint } = {}, signal) {
      const encoded = encodeTree(tree);
      const { leaseCreatedMs, transitions, generation } = revision;
      const order = [leaseCreatedMs, transitions, generation].map(String);
      const [uses, learnt] = [checkpoint?.usage ?? [], checkpoint?.learnt ?? []];
      const remembered = [
        lost ? '1' : '0',
        String(uses.length),
        ...uses.flatMap(({ node, limit, used, anchorMs, anchorLoMs }) => {
          return [node, limit, ...[used, anchorMs ?? -1, anchorLoMs ?? anchorMs ?? -1].map(String)];
        }),
        String(learnt.length),
        ...learnt.flatMap(({ node, rateUntilMs, concurrency }) => [
          node,
          String(rateUntilMs ?? -1),
          String(concurrency ?? -1),
        ]),
      ];
      const args = [...encoded.account, ...order, hashOf(encoded), serializeTree(tree), ...remembered, ...encoded.body];
      const keys = [...functionKeys(tree.key), configKey(tree.key)];
      return reply.decodeConfigured(await call('configure', keys, args, signal));
    },
    hashOf: configHash,
    async config(key, signal) {
      const text = await guarded(redis.hget(configKey(key), TREE_FIELD), signal);
      return text === null ? null : parseTree(text);
    },
    async fingerprint(key, signal) {
      const fields = Object.entries(await guarded(redis.hgetallBuffer(configKey(key)), signal));
      return fields.length === 0 ? null : fingerprintOf(fields.filter(([field]) => field !== MOVE_FIELD));
    },
    async snapshot(key, signal) {
      return reply.decodeSnapshot(await call('snapshot', functionKeys(key), [], signal), key);
    },
    async audit(key, signal) {
      return reply.decodeAudit(await call('audit', functionKeys(key), [], signal), key);
    },
    async tick(key, signal) {
      return reply.decodeTick(await call('tick', functionKeys(key), [], signal));
    },
    async reclaim(key, { prefix, except }, signal) {
      return reply.decodeReclaimed(await govern(key, ['reclaim', prefix, except ?? ''], signal));
    },
    async drain(key, process, draining, signal) {
      await govern(key, ['drain', process, draining ? '1' : '0'], signal);
    },
    async declareMove(key, { identities, untilMs }, signal) {
      await govern(key, ['move', String(untilMs), ...identities], signal);
    },
    async freeze(key, node, untilMs, signal) {
      await govern(key, ['freeze', node, String(untilMs ?? -1)], signal);
    },
    async resetWindow(key, node, limit, signal) {
      return reply.decodeNumber(await govern(key, ['reset', node, limit], signal)) === 1;
    },
    async calibrate(key, { limit, used, resetAtMs, pollStartMs }, signal) {
      const args = ['calibrate', limit, String(used), String(resetAtMs ?? -1), String(pollStartMs)];
      return reply.decodeCalibrated(await govern(key, args, signal));
    },
  };
}

type Alive = Extract<BeatReply, { kind: 'alive' }>;

/** At least `min` batches, so that an empty list still makes a call where one is due. */
function batches<T>(items: readonly T[], min = 0): readonly (readonly T[])[] {
  const count = Math.max(min, Math.ceil(items.length / BATCH));
  return Array.from({ length: count }, (_, index) => items.slice(index * BATCH, (index + 1) * BATCH));
}

function fingerprintOf(fields: readonly (readonly [string, Buffer])[]): string {
  const hash = createHash('sha256');
  for (const [field, value] of fields.toSorted(([one], [other]) => (one < other ? -1 : 1)))
    hash.update(`${field}\n${value.length}\n`).update(value);
  return hash.digest('hex');
}
