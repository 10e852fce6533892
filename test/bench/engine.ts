/** `engine.*`: how fast Redis decides, and whether the vendor ever sees a call too many. */
import { createSidecarEngine } from '#sidecar/engine/client.ts';
import { newId } from '#sidecar/base/ids.ts';
import type { AcquireRequest, Settlement } from '#sidecar/engine/terms.ts';
import type { Amounts } from '#sidecar/engine/tree-terms.ts';
import { chatCall, medianOf, runLoad } from './blocks.ts';
import { startSidecar, unpackImage } from './image.ts';
import { report, type Metric } from './report.ts';
import { MODEL, openWorld, treeOf, type World } from './world.ts';

const BLOCKS = 5;
const WARMUP_CALLS = 2000;
const CALLS = 4000;

/** A call as the sidecar reserves it: 300 tokens of question, 1,024 of answer. */
const RESERVE: Amounts = {
  requests: 1,
  prompts: 1,
  inputTokens: 300,
  cachedTokens: 0,
  outputTokens: 1024,
  microCredits: 4_000_000,
  nanoCost: 2_500_000,
  costUnits: 0,
  runtimeSeconds: 0,
};

interface Block {
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** A bare PING over the same connection. */
  readonly pingP50Ms: number;
}

const SIDECARS = 3;
const ROUNDS = 30;
const CROWD = { callers: 32, calls: 1500, concurrency: 4, prompts: 1000 };

export async function benchEngine(log: (line: string) => void): Promise<void> {
  log('building the image');
  await using image = await unpackImage();
  await using world = await openWorld([
    { name: 'calm', concurrency: 16, prompts: 1_000_000_000 },
    { name: 'crowded', concurrency: CROWD.concurrency, prompts: CROWD.prompts },
  ]);
  const blocks: Block[] = [];
  await acquireBlock(world, WARMUP_CALLS);
  for (let index = 1; index <= BLOCKS; index++) {
    const block = await acquireBlock(world, CALLS);
    blocks.push(block);
    log(`acquire, block ${index}/${BLOCKS}: p50 ${block.p50Ms.toFixed(3)} ms, p99 ${block.p99Ms.toFixed(3)} ms`);
  }
  log(`over-admission: ${SIDECARS} sidecars, ${CROWD.callers} callers each, ${CROWD.concurrency} slots`);
  await using stack = new AsyncDisposableStack();
  const { snapshotFile } = treeOf(world, 'crowded');
  const sidecars = await Promise.all(Array.from({ length: SIDECARS }, () => startSidecar(image, snapshotFile)));
  for (const sidecar of sidecars) stack.use(sidecar);
  report('engine', world.redisVersion, [...latencies(blocks), await overadmission(world, sidecars)]);
}

async function acquireBlock(world: World, calls: number): Promise<Block> {
  const { redis } = world.redis;
  const { binding, revision } = treeOf(world, 'calm').snapshot;
  const engine = createSidecarEngine({ redis, treeKey: binding.treeKey });
  const times: number[] = [];
  const pings: number[] = [];
  for (let call = 0; call < calls; call++) {
    const request = requestOf(binding.leaf, revision.generation);
    const started = performance.now();
    const verdict = await engine.acquire(request);
    times.push(performance.now() - started);
    if (verdict.kind !== 'granted') throw new Error(`acquire was answered ${JSON.stringify(verdict)}`);
    await engine.settle([settlementOf(request.id, verdict.fence)]);
    const pinged = performance.now();
    await redis.ping();
    pings.push(performance.now() - pinged);
  }
  const at = (values: readonly number[], part: number): number =>
    values.toSorted((a, b) => a - b)[Math.floor(values.length * part)] ?? Number.NaN;
  return { p50Ms: at(times, 0.5), p99Ms: at(times, 0.99), pingP50Ms: at(pings, 0.5) };
}

function requestOf(leaf: string, generation: number): AcquireRequest {
  return {
    id: newId(),
    owner: 'bench/1',
    leaf,
    model: MODEL,
    generation,
    epoch: null,
    reserve: RESERVE,
    maxRuntimeMs: 3_600_000,
    class: 'Normal',
    flowKey: '',
    attributes: {},
    wait: { mode: 'UntilWindow', maxWaitMs: 240_000 },
    place: null,
  };
}

function settlementOf(id: string, fence: number): Settlement {
  const offsets = { sentAfterMs: 0, firstByteAfterMs: 0, holdMs: 0, frozenUntilMs: null };
  return { id, fence, outcome: 'completed', actual: RESERVE, ...offsets };
}

/** The crowd asks for more slots than there are, then for more prompts than the window has. */
async function overadmission(world: World, sidecars: readonly { readonly origin: string }[]): Promise<Metric> {
  const { callers, calls } = CROWD;
  const load = { ...chatCall('[[sim ms=2]]'), concurrency: callers, calls, warmupCalls: 0 };
  const crowd = (): Promise<unknown> => Promise.all(sidecars.map(({ origin }) => runLoad({ origin, ...load })));
  let usedUp = false;
  for (let round = 0; round < ROUNDS && !usedUp; round++) {
    await crowd();
    usedUp = (await world.control.report()).accepted >= CROWD.prompts;
  }
  if (!usedUp) throw new Error(`the window was not used up within ${ROUNDS} rounds`);
  await crowd();
  const { accepted, overAdmission, refused } = await world.control.report();
  const vendorRefusals = Object.values(refused).reduce((sum, count) => sum + count, 0);
  return {
    id: 'engine.overadmission',
    value: overAdmission.concurrency + overAdmission.windowCalls,
    unit: 'calls',
    goal: 0,
    better: 'lower',
    method:
      `calls the simulator saw beyond its own limits; ${SIDECARS} bundled sidecars with ${callers} callers each, ` +
      `${CROWD.concurrency} slots, until ${CROWD.prompts} prompts of a window were used up and beyond`,
    peers: { accepted, refusedByVendor: vendorRefusals },
  };
}

function latencies(blocks: readonly Block[]): Metric[] {
  const method = `one caller, loopback TCP, account → team → agent with the model's slots and six windows; median of ${BLOCKS} blocks of ${CALLS}`;
  const shared = { unit: 'ms', better: 'lower', method } as const;
  const peers = { ping: medianOf(blocks, ({ pingP50Ms }) => pingP50Ms) };
  return [
    { id: 'engine.acquire_p50_ms', value: medianOf(blocks, ({ p50Ms }) => p50Ms), goal: 0.25, ...shared, peers },
    { id: 'engine.acquire_p99_ms', value: medianOf(blocks, ({ p99Ms }) => p99Ms), goal: 1, ...shared, peers: {} },
  ];
}
