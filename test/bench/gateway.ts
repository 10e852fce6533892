/** `gateway.*`: what the bundled sidecar costs, by blocks that go straight to the vendor and through it in turn. */
import { setTimeout as delay } from 'node:timers/promises';
import { chatCall, median, medianOf, runLoad, type CallShape } from './blocks.ts';
import { startSidecar, unpackImage, type Image } from './image.ts';
import type { LoadResult } from './load.ts';
import { drawGateway } from './plot.ts';
import { report, type Metric } from './report.ts';
import { openWorld, treeOf } from './world.ts';

const BLOCKS = 5;
const STARTS = 3;
/** A process that has nothing to do has let go of what starting needed. */
const IDLE_MS = 5000;
const CALLERS = 16;

/** One block straight to the vendor and the one through the sidecar beside it. */
export interface Pair {
  readonly direct: LoadResult;
  readonly through: LoadResult;
}

export interface GatewayRun {
  readonly one: readonly Pair[];
  readonly many: readonly Pair[];
  readonly streamed: readonly Pair[];
}

interface Shape {
  readonly what: string;
  readonly call: CallShape;
  readonly concurrency: number;
  readonly calls: number;
  readonly warmupCalls: number;
}

const ONE: Shape = { what: 'c=1', call: chatCall(), concurrency: 1, calls: 1000, warmupCalls: 300 };
const MANY: Shape = { what: 'c=16', call: chatCall(), concurrency: CALLERS, calls: 8000, warmupCalls: 2000 };
const STREAMED: Shape = {
  what: 'c=16, streams of 60 ms',
  call: chatCall('[[sim ttft=20 ms=60 tokens=40]]', true),
  concurrency: CALLERS,
  calls: 800,
  warmupCalls: 80,
};

export async function benchGateway(log: (line: string) => void): Promise<void> {
  log('building the image');
  await using image = await unpackImage();
  await using world = await openWorld([{ name: 'metered', concurrency: CALLERS, prompts: 1_000_000_000 }]);
  const { snapshotFile } = treeOf(world, 'metered');
  const { startMs, rssMb } = await benchStart(image, snapshotFile, log);
  await using sidecar = await startSidecar(image, snapshotFile);
  const alternate = async (shape: Shape): Promise<readonly Pair[]> => {
    const pairs: Pair[] = [];
    for (let block = 1; block <= BLOCKS; block++) {
      const direct = await load(world.vendor, shape);
      const through = await load(sidecar.origin, shape);
      pairs.push({ direct, through });
      log(`${shape.what}, block ${block}/${BLOCKS}: direct ${describe(direct)}; sidecar ${describe(through)}`);
    }
    return pairs;
  };
  const run = { one: await alternate(ONE), many: await alternate(MANY), streamed: await alternate(STREAMED) };
  const { overAdmission } = await world.control.report();
  if (overAdmission.concurrency > 0) throw new Error(`the vendor saw ${overAdmission.concurrency} calls too many`);
  report('gateway', { redisVersion: world.redisVersion, quick: false }, [
    ...metricsOf(run),
    ...footprint(startMs, rssMb),
  ]);
  drawGateway(run);
}

async function load(origin: string, { call, concurrency, calls, warmupCalls }: Shape): Promise<LoadResult> {
  const result = await runLoad({ origin, ...call, concurrency, calls, warmupCalls });
  if (result.failures > 0) throw new Error(`${result.failures} of ${calls} calls to ${origin} failed`);
  return result;
}

function describe({ callsPerSecond, p50Ms, p99Ms }: LoadResult): string {
  return `${callsPerSecond.toFixed(0)}/s, p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms`;
}

async function benchStart(image: Image, snapshotFile: string, log: (line: string) => void) {
  const starts: number[] = [];
  const rss: number[] = [];
  for (let index = 0; index < STARTS; index++) {
    await using sidecar = await startSidecar(image, snapshotFile);
    starts.push(sidecar.startMs);
    log(`start ${index + 1}/${STARTS}: ready after ${sidecar.startMs.toFixed(0)} ms; idle for ${IDLE_MS / 1000} s`);
    await delay(IDLE_MS);
    rss.push(await sidecar.rssMb());
  }
  return { startMs: median(starts), rssMb: median(rss) };
}

function metricsOf({ one, many, streamed }: GatewayRun): Metric[] {
  const added = (pairs: readonly Pair[], value: (result: LoadResult) => number): number =>
    medianOf(pairs, ({ direct, through }) => value(through) - value(direct));
  const peers = (pairs: readonly Pair[], value: (result: LoadResult) => number): Metric['peers'] => ({
    direct: medianOf(pairs, ({ direct }) => value(direct)),
    sidecar: medianOf(pairs, ({ through }) => value(through)),
  });
  const p50 = ({ p50Ms }: LoadResult): number => p50Ms;
  const p99 = ({ p99Ms }: LoadResult): number => p99Ms;
  const rate = ({ callsPerSecond }: LoadResult): number => callsPerSecond;
  const first = ({ firstByteP50Ms }: LoadResult): number => firstByteP50Ms;
  const how = `median of ${BLOCKS} blocks, each beside one straight to the simulator; closed loop, 1 kB of JSON`;
  return [
    {
      id: 'gateway.overhead_p50_ms',
      value: added(one, p50),
      unit: 'ms',
      goal: 0.8,
      better: 'lower',
      method: `c=1, p50 through the sidecar minus p50 direct; ${how}`,
      peers: peers(one, p50),
    },
    {
      id: 'gateway.overhead_p99_ms',
      value: added(many, p99),
      unit: 'ms',
      goal: 10,
      better: 'lower',
      method: `c=16, p99 through the sidecar minus p99 direct; ${how}`,
      peers: peers(many, p99),
    },
    {
      id: 'gateway.rps',
      value: medianOf(many, ({ through }) => rate(through)),
      unit: 'calls/s',
      goal: 4000,
      better: 'higher',
      method: `c=16 on all processors, shared with load, simulator and Redis; ${how}`,
      peers: { direct: medianOf(many, ({ direct }) => rate(direct)) },
    },
    {
      id: 'gateway.ttft_p50_ms',
      value: added(streamed, first),
      unit: 'ms',
      goal: 3,
      better: 'lower',
      method: `c=16, first byte of the body of streams that begin after 20 ms and take 60 ms; ${how}`,
      peers: peers(streamed, first),
    },
  ];
}

function footprint(startMs: number, rssMb: number): Metric[] {
  return [
    {
      id: 'gateway.rss_idle_mb',
      value: rssMb,
      unit: 'MiB',
      goal: 80,
      better: 'lower',
      method: `VmRSS ${IDLE_MS / 1000} s after it was ready, connected to Redis, no calls; median of ${STARTS} starts`,
      peers: {},
    },
    {
      id: 'gateway.start_ms',
      value: startMs,
      unit: 'ms',
      goal: 1000,
      better: 'lower',
      method: `process started to /readyz answering 200 (configured and connected); median of ${STARTS} starts`,
      peers: {},
    },
  ];
}
