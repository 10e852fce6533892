/**
 * Oracles that know nothing of the engine's counters: they look at when calls were granted and settled, and at what a
 * vendor with windows of its own would have counted.
 */
import { deepEqual } from 'node:assert/strict';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Outcome } from '#sidecar/engine/terms.ts';
import type { LimitConfig, NodeConfig } from '#sidecar/engine/tree-terms.ts';
import {
  limit,
  node,
  NOTHING,
  openTestEngine,
  request,
  settlement,
  START_MS,
  TREE_KEY,
  type TestEngine,
} from '#test/support/engine.ts';
import { startRedis, type TestRedis } from '#test/support/redis.ts';
import { runParameters } from './seed.ts';

let server: TestRedis;
let opened: TestEngine;

beforeAll(async () => {
  server = await startRedis();
  opened = await openTestEngine(server.socketPath);
});

afterAll(async () => {
  opened.redis.disconnect();
  await server[Symbol.asyncDispose]();
});

/** A call as the world sees it; offsets in ms, each from the one before. */
interface Call {
  readonly afterMs: number;
  readonly sentMs: number;
  /** When the vendor accepts it, between sending and the first byte, in tenths. */
  readonly acceptTenth: number;
  readonly firstByteMs: number;
  readonly restMs: number;
  readonly tokens: number;
  readonly outcome: Outcome;
  /** It ended before any response; the vendor took it all the same, or never saw it. */
  readonly cut: 'taken' | 'unseen' | null;
  /** Its owner cannot reach Redis: it is not beaten for, runs 20 s longer, and settles late. */
  readonly lost: boolean;
}

interface Done extends Call {
  readonly grantedMs: number;
  readonly acceptedMs: number;
  readonly settledMs: number;
}

const outcomes = fc.constantFrom<Outcome>(
  'completed',
  'completed',
  'completed',
  'brokeMidStream',
  'refusedRate',
  'neverSent',
);
const calls = fc.array(
  fc.record<Call>({
    afterMs: fc.oneof(fc.nat({ max: 900 }), fc.nat({ max: 9000 }), fc.constantFrom(10_000, 11_900, 12_000, 12_100)),
    sentMs: fc.constantFrom(0, 1, 50, 2000),
    acceptTenth: fc.nat({ max: 10 }),
    firstByteMs: fc.constantFrom(0, 10, 800, 4000),
    restMs: fc.constantFrom(0, 5, 3000, 14_000),
    tokens: fc.integer({ min: 0, max: 6 }),
    outcome: outcomes,
    cut: fc.constantFrom(null, null, null, null, 'taken', 'unseen'),
    lost: fc.constantFrom(false, false, false, false, true),
  }),
  { minLength: 5, maxLength: 50, size: 'max' },
);

/** Short calls in bursts; before each burst comes one that is cut before any response and never reached the vendor. */
const cutCalls = fc.tuple(calls, fc.integer({ min: 4, max: 8 })).map(([all, size]) =>
  all.map((call, index): Call => {
    const short = { ...call, restMs: call.restMs % 3000, outcome: 'completed', cut: null, lost: false } as const;
    if (index % size === 0) return { ...short, cut: 'unseen' };
    return { ...short, afterMs: index % size === 1 ? call.afterMs : call.afterMs % 3000 };
  }),
);

/** Plays the calls on a tree; returns those that were granted. Leases are kept alive, but `faulty` loses the lost ones. */
async function play(nodes: readonly NodeConfig[], all: readonly Call[], faulty = false): Promise<readonly Done[]> {
  const engine = opened.fresh();
  await engine.setUs(START_MS * 1000);
  await engine.wipe();
  await engine.configure(nodes);
  const running: (Done & { readonly id: string; readonly fence: number })[] = [];
  const done: Done[] = [];
  const settleUntil = async (ms: number): Promise<void> => {
    running.sort((a, b) => a.settledMs - b.settledMs);
    for (let [next] = running; next && next.settledMs <= ms; [next] = running) {
      await engine.setUs(next.settledMs * 1000);
      const actual = { ...NOTHING, requests: 1, inputTokens: next.tokens };
      const offsets = { sentAfterMs: next.sentMs, firstByteAfterMs: next.cut ? null : next.sentMs + next.firstByteMs };
      const outcome = next.cut ? 'brokeMidStream' : next.outcome;
      await engine.sidecar.settle([settlement(next.id, next.fence, { ...offsets, actual, outcome })]);
      done.push(next);
      running.shift();
    }
  };
  let nowMs = START_MS;
  for (const [index, call] of all.entries()) {
    nowMs += call.afterMs;
    await settleUntil(nowMs);
    await engine.setUs(nowMs * 1000);
    const leases = running.filter(({ lost }) => !(lost && faulty)).map(({ id, fence }) => ({ id, fence, epoch: 0 }));
    await engine.sidecar.beat({ owner: 'pod-1', epoch: null, leases, waiters: [] });
    const reserve = { ...NOTHING, requests: 1, inputTokens: 6 };
    const verdict = await engine.sidecar.acquire(request(`call-${index}`, { reserve }));
    if (verdict.kind !== 'granted') continue;
    const acceptedMs = nowMs + call.sentMs + Math.floor((call.firstByteMs * call.acceptTenth) / 10);
    const settledMs = nowMs + call.sentMs + call.firstByteMs + call.restMs + (call.lost && faulty ? 20_000 : 0);
    running.push({ ...call, id: verdict.id, fence: verdict.fence, grantedMs: nowMs, acceptedMs, settledMs });
  }
  await settleUntil(Number.MAX_SAFE_INTEGER / 1000);
  deepEqual((await engine.admin.audit(TREE_KEY)).drifts, []);
  return done;
}

const accepted = (done: readonly Done[]): readonly Done[] =>
  done.filter(({ outcome, cut }) => (cut ? cut === 'taken' : outcome === 'completed' || outcome === 'brokeMidStream'));

/** Most that a vendor whose window opens with the first accepted call counts in any of its windows. */
function mostInVendorWindows(done: readonly Done[], durationMs: number, countedMs: (call: Done) => number): number {
  const all = accepted(done);
  const opens = all.map(({ acceptedMs }) => acceptedMs).toSorted((a, b) => a - b);
  const starts: number[] = [];
  for (const at of opens) if (at >= (starts.at(-1) ?? -Infinity) + durationMs) starts.push(at);
  const sums = starts.map((start) => {
    const inside = all.filter((call) => countedMs(call) >= start && countedMs(call) < start + durationMs);
    return [inside.length, inside.reduce((sum, { tokens }) => sum + tokens, 0)] as const;
  });
  return Math.max(0, ...sums.map(([count, tokens]) => (countedMs === tokensAt ? tokens : count)));
}
const requestAt = ({ acceptedMs }: Done): number => acceptedMs;
const tokensAt = ({ settledMs }: Done): number => settledMs;

const anchored = { type: 'Anchored', durationMs: 12_000 } as const;
const account = (limits: readonly LimitConfig[], rest: Partial<NodeConfig> = {}) => [
  node('account', null, { limits, ...rest }),
];

test('inv-I3 no window of the vendor holds more requests than its limit, wherever it opened, with owners cut off', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 6 }), calls, async (most, all) => {
      const done = await play(account([limit('five-hour', most, { window: anchored })]), all, true);
      expect(mostInVendorWindows(done, anchored.durationMs, requestAt)).toBeLessThanOrEqual(most);
    }),
    runParameters(200),
  );
});

test('inv-I3 no window of the vendor holds more requests than its limit, also if calls before it were never seen', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 2, max: 5 }), cutCalls, async (most, all) => {
      const done = await play(account([limit('five-hour', most, { window: anchored })]), all);
      expect(mostInVendorWindows(done, anchored.durationMs, requestAt)).toBeLessThanOrEqual(most);
    }),
    runParameters(200),
  );
});

test('inv-I3 no window of the vendor holds more tokens than its limit, also if it counts them at the end', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 6, max: 30 }), calls, async (most, all) => {
      const tokens = limit('five-hour', most, { window: anchored, resource: 'Tokens' });
      const done = await play(account([tokens]), all);
      expect(mostInVendorWindows(done, anchored.durationMs, tokensAt)).toBeLessThanOrEqual(most);
    }),
    runParameters(200),
  );
});

test('inv-I3 no stretch as long as a sliding window holds more grants or settled tokens than its limits', async () => {
  const window = { type: 'Sliding', durationMs: 12_000 } as const;
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 6, max: 30 }),
      calls,
      async (most, many, all) => {
        const limits = [limit('requests', most, { window }), limit('tokens', many, { window, resource: 'Tokens' })];
        const done = accepted(await play(account(limits), all));
        for (const { grantedMs, settledMs } of done) {
          const granted = done.filter((each) => each.grantedMs > grantedMs - 12_000 && each.grantedMs <= grantedMs);
          expect(granted.length).toBeLessThanOrEqual(most);
          const settled = done.filter((each) => each.settledMs > settledMs - 12_000 && each.settledMs <= settledMs);
          expect(settled.reduce((sum, { tokens }) => sum + tokens, 0)).toBeLessThanOrEqual(many);
        }
      },
    ),
    runParameters(200),
  );
});

test('inv-I4 in no stretch t are there more than (t + tau) / T + 1 calls that kept their rate token', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.constantFrom(700, 2500),
      calls,
      async (burst, interval, all) => {
        const rate = { intervalUs: interval * 1000, burst };
        const done = (await play(account([], { rate }), all)).filter(
          ({ outcome, cut }) => cut || outcome !== 'neverSent',
        );
        const times = done.map(({ grantedMs }) => grantedMs).toSorted((a, b) => a - b);
        times.forEach((from, index) =>
          times.slice(index).forEach((to, count) => {
            expect(count + 1).toBeLessThanOrEqual((to - from + (burst - 1) * interval) / interval + 1);
          }),
        );
      },
    ),
    runParameters(200),
  );
});
