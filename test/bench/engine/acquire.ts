/** What asking costs one caller that meets nobody. */
import { createSidecarEngine } from '#sidecar/engine/client.ts';
import { medianOf } from '../blocks.ts';
import type { Metric } from '../report.ts';
import { treeOf } from '../world.ts';
import { quantile, type Section } from './section.ts';
import { requestOf, settlementOf } from './trees.ts';

const BLOCKS = 5;
const FULL = { warmupCalls: 2000, calls: 4000 };
const QUICK = { warmupCalls: 200, calls: 400 };

interface Block {
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** A bare PING over the same connection. */
  readonly pingP50Ms: number;
}

export async function benchAcquire(section: Section): Promise<readonly Metric[]> {
  const { warmupCalls, calls } = section.quick ? QUICK : FULL;
  const blocks: Block[] = [];
  await acquireBlock(section, warmupCalls);
  for (let index = 1; index <= BLOCKS; index++) {
    const block = await acquireBlock(section, calls);
    blocks.push(block);
    const { p50Ms, p99Ms } = block;
    section.log(`acquire, block ${index}/${BLOCKS}: p50 ${p50Ms.toFixed(3)} ms, p99 ${p99Ms.toFixed(3)} ms`);
  }
  const method = `one caller, loopback TCP, account → team → agent with the model's slots and six windows; median of ${BLOCKS} blocks of ${calls}`;
  const shared = { unit: 'ms', better: 'lower', method } as const;
  const peers = { ping: medianOf(blocks, ({ pingP50Ms }) => pingP50Ms) };
  return [
    { id: 'engine.acquire_p50_ms', value: medianOf(blocks, ({ p50Ms }) => p50Ms), goal: 0.25, ...shared, peers },
    { id: 'engine.acquire_p99_ms', value: medianOf(blocks, ({ p99Ms }) => p99Ms), goal: 1, ...shared, peers: {} },
  ];
}

async function acquireBlock({ world }: Section, calls: number): Promise<Block> {
  const { redis } = world.redis;
  const { binding, revision } = treeOf(world, 'calm').snapshot;
  const engine = createSidecarEngine({ redis, treeKey: binding.treeKey });
  const times: number[] = [];
  const pings: number[] = [];
  for (let call = 0; call < calls; call++) {
    const request = requestOf({ leaf: binding.leaf, generation: revision.generation });
    const started = performance.now();
    const verdict = await engine.acquire(request);
    times.push(performance.now() - started);
    if (verdict.kind !== 'granted') throw new Error(`acquire was answered ${JSON.stringify(verdict)}`);
    await engine.settle([settlementOf(request.id, verdict.fence)]);
    const pinged = performance.now();
    await redis.ping();
    pings.push(performance.now() - pinged);
  }
  return { p50Ms: quantile(times, 0.5), p99Ms: quantile(times, 0.99), pingP50Ms: quantile(pings, 0.5) };
}
