/** A window limit alone, without slots or queue: how many calls a second, and what a burst gets through. */
import { setTimeout as delay } from 'node:timers/promises';
import { createSidecarEngine } from '#sidecar/engine/client.ts';
import { ONE, limit, node } from '#test/support/engine.ts';
import { openRateLimiterFlexible } from '../peers/rate-limiter-flexible.ts';
import type { Metric } from '../report.ts';
import { ENGINE } from './backlog.ts';
import type { Section } from './section.ts';
import { MODEL_NODES, openEngineTree, requestOf } from './trees.ts';

/** So many calls a window. */
export interface WindowLimiter extends AsyncDisposable {
  /** Whether one more call may go. */
  admit(): Promise<boolean>;
}

interface Window {
  readonly amount: number;
  readonly windowMs: number;
}

const FLOOD = { amount: 1000, windowMs: 600_000 };
const EDGE = { amount: 200, windowMs: 2000 };
const AT_ONCE = 64;
const PEER = 'rate-limiter-flexible';

export async function benchBursts(section: Section): Promise<readonly Metric[]> {
  const calls = section.quick ? 1500 : 8000;
  const open = (name: string, window: Window): Promise<WindowLimiter> =>
    name === PEER ? openRateLimiterFlexible(section.world, window) : openEngineLimiter(section, window);
  const rates: Record<string, number> = {};
  const floods: Record<string, number> = {};
  const edges: Record<string, number> = {};
  for (const name of [ENGINE, PEER]) {
    section.log(`bursts, ${name}: ${calls} calls on ${FLOOD.amount}, then two bursts at a window's edge`);
    await using flooded = await open(name, FLOOD);
    const started = performance.now();
    floods[name] = (await burst(flooded, calls)) - FLOOD.amount;
    rates[name] = calls / ((performance.now() - started) / 1000);
    await using edged = await open(name, EDGE);
    edges[name] = (await atEdge(edged)) - EDGE.amount;
  }
  const peerOf = (values: Readonly<Record<string, number>>) => ({ [PEER]: values[PEER]! });
  const { amount, windowMs } = EDGE;
  return [
    {
      id: 'engine.window_calls_per_s',
      value: rates[ENGINE]!,
      unit: 'calls/s',
      goal: null,
      better: 'higher',
      method: `${AT_ONCE} at once ask ${calls} times for a window of ${FLOOD.amount}; the engine at depth 1 with lease and ledger, the peer with a counter`,
      peers: peerOf(rates),
    },
    {
      id: 'engine.burst_overadmission',
      value: Math.max(floods[ENGINE]!, edges[ENGINE]!),
      unit: 'calls',
      goal: 0,
      better: 'lower',
      method:
        `calls let through beyond the limit, the worse of: ${calls} calls on ${FLOOD.amount}; two bursts of ${2 * amount} within ${windowMs / 1000} s, ` +
        `before and after the end of the first window of ${amount} each ${windowMs / 1000} s (the engine's is Sliding, the peer has fixed windows only)`,
      peers: { [PEER]: Math.max(floods[PEER]!, edges[PEER]!), [`${PEER}, one window`]: floods[PEER]! },
    },
  ];
}

async function burst(limiter: WindowLimiter, calls: number): Promise<number> {
  let [left, admitted] = [calls, 0];
  const ask = async (): Promise<void> => {
    while (left-- > 0) if (await limiter.admit()) admitted += 1;
  };
  await Promise.all(Array.from({ length: AT_ONCE }, ask));
  return admitted;
}

/** The most that were let through within any stretch as long as the window. */
async function atEdge(limiter: WindowLimiter): Promise<number> {
  const { amount, windowMs } = EDGE;
  const atMs: number[] = [];
  const noting: WindowLimiter = {
    admit: async () => {
      const admitted = await limiter.admit();
      if (admitted) atMs.push(performance.now());
      return admitted;
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
  const started = performance.now();
  await noting.admit();
  for (const part of [0.85, 1.05]) {
    await delay(started + part * windowMs - performance.now());
    await burst(noting, 2 * amount);
  }
  return Math.max(...atMs.map((from) => atMs.filter((at) => at >= from && at < from + windowMs).length));
}

async function openEngineLimiter({ world }: Section, { amount, windowMs }: Window): Promise<WindowLimiter> {
  const window = { type: 'Sliding', durationMs: windowMs } as const;
  const account = node('account', null, { limits: [limit('burst', amount, { window })] });
  const tree = await openEngineTree(world, `window-${amount}`, [account, ...MODEL_NODES]);
  const engine = createSidecarEngine({ redis: world.redis.redis, treeKey: tree.key });
  const wait = { mode: 'Reject', maxWaitMs: 0 } as const;
  return {
    admit: async () => {
      const request = requestOf({ leaf: 'account', generation: tree.generation }, { reserve: ONE, wait });
      return (await engine.acquire(request)).kind === 'granted';
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}
