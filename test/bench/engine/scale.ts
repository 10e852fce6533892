/** What grows with a tree's depth and with the number of those who wait. */
import { Redis } from 'ioredis';
import { createSidecarEngine } from '#sidecar/engine/client.ts';
import { noticeChannel } from '#sidecar/engine/keys.ts';
import type { Notice, SidecarEngine } from '#sidecar/engine/port.ts';
import { parseNotice } from '#sidecar/engine/replies.ts';
import type { Grant } from '#sidecar/engine/terms.ts';
import type { NodeConfig } from '#sidecar/engine/tree-terms.ts';
import { limit, node } from '#test/support/engine.ts';
import { newId } from '#sidecar/base/ids.ts';
import type { Metric } from '../report.ts';
import { quantile, scriptStats, type Section } from './section.ts';
import { type EngineTree, MODEL_NODES, openEngineTree, requestOf, settlementOf } from './trees.ts';

const DEPTHS = [1, 3, 6] as const;
const CROWDS = [10, 100, 1000, 5000] as const;
const QUICK_CROWDS = [10, 200] as const;
/** Waiters of one owner: what one beat names. */
const WAITERS_EACH = 10;
const HOUR_MS = 3_600_000;

export async function benchScale(section: Section): Promise<readonly Metric[]> {
  const depths: Record<string, number> = {};
  const server: Record<string, number> = {};
  const calls = section.quick ? 500 : 3000;
  for (const depth of DEPTHS) {
    const { p50Ms, serverUs } = await atDepth(section, depth, calls);
    depths[`depth ${depth}`] = p50Ms;
    server[`depth ${depth}`] = serverUs;
    section.log(`depth ${depth}: acquire p50 ${p50Ms.toFixed(3)} ms, ${serverUs.toFixed(0)} µs a call in Redis`);
  }
  const settles: Record<string, number> = {};
  const beats: Record<string, number> = {};
  for (const waiters of section.quick ? QUICK_CROWDS : CROWDS) {
    const { settleMs, beatMs } = await withWaiters(section, waiters);
    settles[`${waiters} waiters`] = settleMs;
    beats[`${waiters} waiters`] = beatMs;
    section.log(`${waiters} waiters: settle with hand-off p50 ${settleMs.toFixed(3)} ms, beat ${beatMs.toFixed(3)} ms`);
  }
  const levels = 'every level with slots, a rate and two windows; one caller on loopback';
  const crowd = `one slot, ${WAITERS_EACH} waiters an owner, seen by one client on loopback; the value is that of the largest crowd`;
  const plain = { goal: null, better: 'lower' } as const;
  return [
    {
      id: 'engine.depth_p50_ms',
      ...plain,
      unit: 'ms',
      value: depths['depth 6']!,
      peers: depths,
      method: `acquire at depth 6, beside 1 and 3; ${levels}`,
    },
    {
      id: 'engine.depth_server_us',
      ...plain,
      unit: 'µs',
      value: server['depth 6']!,
      peers: server,
      method: `time in Redis, mean of acquire and settle, by INFO commandstats; ${levels}`,
    },
    {
      id: 'engine.waiters_settle_p50_ms',
      ...plain,
      unit: 'ms',
      value: last(settles),
      peers: settles,
      method: `settle that hands its slot on; ${crowd}`,
    },
    {
      id: 'engine.waiters_beat_p50_ms',
      ...plain,
      unit: 'ms',
      value: last(beats),
      peers: beats,
      method: `beat of an owner for its ${WAITERS_EACH} waiters; ${crowd}`,
    },
  ];
}

function last(values: Readonly<Record<string, number>>): number {
  return Object.values(values).at(-1) ?? Number.NaN;
}

/** All that can be counted at a level, with room for everything. */
function level(name: string, parent: string | null): NodeConfig {
  return node(name, parent, {
    concurrency: 100,
    rate: { intervalUs: 1, burst: 1_000_000 },
    limits: [
      limit('five-hour', 10 ** 12, { resource: 'Prompts', window: { type: 'Anchored', durationMs: 5 * HOUR_MS } }),
      limit('tokens', 10 ** 12, { resource: 'Tokens', window: { type: 'Fixed', durationMs: 24 * HOUR_MS } }),
    ],
  });
}

async function atDepth({ world }: Section, depth: number, calls: number) {
  const { redis } = world.redis;
  const below = Array.from({ length: depth - 1 }, (_, index) => `quota:bench/level-${index + 2}`);
  const nodes = below.map((name, index) => level(name, index === 0 ? 'account' : below[index - 1]!));
  const tree = await openEngineTree(world, `depth-${depth}`, [level('account', null), ...MODEL_NODES, ...nodes]);
  const engine = createSidecarEngine({ redis, treeKey: tree.key });
  const leaf = below.at(-1) ?? 'account';
  const round = async (): Promise<number> => {
    const request = requestOf({ leaf, generation: tree.generation });
    const started = performance.now();
    const verdict = await engine.acquire(request);
    const tookMs = performance.now() - started;
    if (verdict.kind !== 'granted') throw new Error(`depth ${depth} was answered ${JSON.stringify(verdict)}`);
    await engine.settle([settlementOf(request.id, verdict.fence)]);
    return tookMs;
  };
  for (let index = 0; index < calls / 4; index++) await round();
  const before = await scriptStats(redis);
  const times: number[] = [];
  for (let index = 0; index < calls; index++) times.push(await round());
  const after = await scriptStats(redis);
  return { p50Ms: quantile(times, 0.5), serverUs: (after.usec - before.usec) / (after.calls - before.calls) };
}

async function withWaiters(section: Section, waiters: number): Promise<{ settleMs: number; beatMs: number }> {
  const { world, quick } = section;
  const leaf = 'quota:bench/agent';
  const account = node('account', null, { concurrency: 1 });
  const tree = await openEngineTree(world, `waiters-${waiters}`, [account, ...MODEL_NODES, node(leaf, 'account')]);
  const engine = createSidecarEngine({ redis: world.redis.redis, treeKey: tree.key });
  const owners = Array.from({ length: waiters / WAITERS_EACH }, (_, index) => `pod-${index}/1`);
  await using pushes = await listen(world.port, tree, owners);
  const ask = async (owner: string) => {
    const request = requestOf({ leaf, generation: tree.generation }, { owner });
    return { id: request.id, verdict: await engine.acquire(request) };
  };
  const first = await ask('holder/1');
  if (first.verdict.kind !== 'granted') throw new Error('the first call was not granted');
  const waiting = new Map(owners.map((owner) => [owner, new Set<string>()]));
  for (const owner of owners) {
    const asked = await Promise.all(Array.from({ length: WAITERS_EACH }, () => ask(owner)));
    for (const { id } of asked) waiting.get(owner)?.add(id);
  }
  const rounds = quick ? 50 : 300;
  const settles = await timeSettles({ engine, pushes, ask, waiting }, first.verdict, rounds);
  const beats: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const owner = owners[round % owners.length]!;
    const started = performance.now();
    await engine.beat({ owner, epoch: null, leases: [], waiters: [...(waiting.get(owner) ?? [])] });
    beats.push(performance.now() - started);
  }
  return { settleMs: quantile(settles, 0.5), beatMs: quantile(beats, 0.5) };
}

interface Crowd {
  readonly engine: SidecarEngine;
  readonly pushes: Pushes;
  readonly ask: (owner: string) => Promise<{ readonly id: string }>;
  readonly waiting: ReadonlyMap<string, Set<string>>;
}

/** Each waiter that is served is followed by another of its owner. */
async function timeSettles({ engine, pushes, ask, waiting }: Crowd, first: Grant, rounds: number) {
  const times: number[] = [];
  let holder = first;
  for (let round = 0; round < rounds; round++) {
    const pushed = pushes.next();
    const started = performance.now();
    await engine.settle([settlementOf(holder.id, holder.fence)]);
    times.push(performance.now() - started);
    const { owner, notice } = await pushed;
    if (notice.kind !== 'granted') throw new Error(`a waiter was told ${JSON.stringify(notice)}`);
    holder = notice.grant;
    waiting.get(owner)?.delete(holder.id);
    waiting.get(owner)?.add((await ask(owner)).id);
  }
  return times;
}

interface Pushes extends AsyncDisposable {
  next(): Promise<{ readonly owner: string; readonly notice: Notice }>;
}

async function listen(port: number, tree: EngineTree, owners: readonly string[]): Promise<Pushes> {
  const redis = new Redis({ host: '127.0.0.1', port, protocol: 3, connectionName: newId() });
  const channels = new Map(owners.map((owner) => [noticeChannel(tree.key, owner), owner]));
  let arrived = Promise.withResolvers<{ owner: string; notice: Notice }>();
  redis.on('smessage', (channel: string, text: string) => {
    const [owner, notice] = [channels.get(channel), parseNotice(text)];
    if (owner !== undefined && notice !== null) arrived.resolve({ owner, notice });
  });
  await redis.ssubscribe(...channels.keys());
  return {
    next: async () => {
      arrived = Promise.withResolvers();
      return arrived.promise;
    },
    [Symbol.asyncDispose]: async () => redis.disconnect(),
  };
}
