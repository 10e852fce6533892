/** Redis is killed, emptied, full, or told another time, while calls run (rules F1, F3, F5, T1, T7). */
import { expect, test } from 'vitest';
import { limit } from '#test/support/engine.ts';
import type { Checkpoint } from '#sidecar/engine/port.ts';
import { fullOnly, isFull, leftOut } from './mode.ts';
import { firstStart } from './stand/oracle.ts';
import { momentOf, Stand } from './stand/stand.ts';
import { openSingle, type SingleStore } from './stand/stores.ts';

const SLOTS = 4;
const FIVE_HOURS_MS = 5 * 3_600_000;

function windowOf(amount: number) {
  return {
    account: {
      concurrency: SLOTS,
      limits: [
        limit('five-hour', amount, { resource: 'Prompts', window: { type: 'Anchored', durationMs: FIVE_HOURS_MS } }),
      ],
    },
  };
}

async function used({ operator }: Stand<SingleStore>): Promise<number> {
  return (await operator.tree()).nodes[0]?.usage[0]?.used ?? Number.NaN;
}

/** A call granted just before a fault may still be on its way to the vendor. */
const IN_HAND_MS = 500;

async function more(stand: Stand<SingleStore>, calls: number, withinMs = 60_000): Promise<void> {
  const { accepted } = await stand.control.report();
  await stand.control.until((report) => report.accepted >= accepted + calls, withinMs);
}

/** TTL + H, in which owners that live have registered after Redis has lost its place (rule T7), and 5 s for it to be back. */
const LEARNING_MS = 15_000 + 5000 + 5000;
/** Calls after each kill, and how soon they run once the first does. */
const RESUMED = { calls: 30, withinMs: 10_000 };

test.concurrent('F5 kill -9 of Redis with its append-only file: never more than c in flight, grants resume within TTL + H + 5 s, every call is charged once', async () => {
  const store = await openSingle(3, { config: ['appendonly yes', 'appendfsync everysec'] });
  const nodes = windowOf(1_000_000);
  await using stand = await Stand.open({ name: 'kill-redis', store, concurrency: SLOTS, sidecars: 3, nodes });
  const held = stand.call(0, { text: '[[sim midhold=ever tokens=40]]', stream: true });
  await stand.inFlight(1);
  stand.load({ callers: 20, text: '[[sim ms=100]]' });
  leftOut('three of five kills of Redis in a row');
  const kills = Array.from({ length: isFull ? 5 : 2 }, (_, round) => `kill ${round + 1}`);
  for (const kill of kills) {
    await more(stand, RESUMED.calls);
    await stand.mark(kill);
    await store.server.kill();
    await store.server.restart();
  }
  await more(stand, RESUMED.calls);
  await stand.control.release('ever');
  expect((await held).status).toBe(200);
  const proof = await stand.proves(SLOTS);
  expect(await used(stand)).toBe(proof.calls.length);
  for (const kill of kills) {
    const killedMs = momentOf(proof, kill);
    const resumedMs = firstStart(proof.calls, killedMs + IN_HAND_MS);
    expect(resumedMs - killedMs).toBeLessThanOrEqual(LEARNING_MS);
    const soon = proof.calls.filter(({ startMs }) => startMs >= resumedMs && startMs <= resumedMs + RESUMED.withinMs);
    // The others were in hand when it was killed.
    expect(soon.length).toBeGreaterThanOrEqual(RESUMED.calls - SLOTS);
  }
});

test.concurrent('F5 FLUSHALL under load: never more than c in flight, grants resume within TTL + H + 10 s', async () => {
  await using stand = await Stand.open({
    name: 'flushall',
    store: await openSingle(3),
    concurrency: SLOTS,
    sidecars: 3,
  });
  const held = [0, 1].map((index) => stand.call(index, { text: '[[sim midhold=ever tokens=40]]', stream: true }));
  await stand.inFlight(2);
  stand.load({ callers: 20, text: '[[sim ms=200]]' });
  await more(stand, 20);
  await stand.mark('emptied');
  await stand.store.operator.redis.call('FLUSHALL');
  await stand.operator.restore();
  await more(stand, 30, 30_000);
  await stand.mark('resumed');
  await stand.control.release('ever');
  for (const seen of await Promise.all(held)) expect(seen.status).toBe(200);
  await stand.proves(SLOTS);
});

fullOnly(
  'F3 FLUSHALL with a checkpoint: a window is overdrawn by no more than was spent since, and what was in flight',
  async () => {
    const amount = 150;
    const nodes = windowOf(amount);
    const options = {
      concurrency: SLOTS,
      sidecars: 2,
      nodes,
      binding: { waiting: { mode: 'UntilSlot', maxWaitMs: 60_000 } },
    } as const;
    await using stand = await Stand.open({ name: 'flushall-window', store: await openSingle(2), ...options });
    const load = stand.load({ callers: 10, text: '[[sim ms=100]]' });
    await stand.accepted(40);
    const { usage } = (await stand.operator.tree()).nodes[0]!;
    const [window] = usage;
    const anchorMs = (window?.resetsAtMs ?? 0) - FIVE_HOURS_MS;
    const checkpoint: Checkpoint = {
      usage: [{ node: 'account', limit: 'five-hour', used: (window?.used ?? 0) + (window?.reserved ?? 0), anchorMs }],
      learnt: [],
    };
    await more(stand, 20);
    const since = (await stand.control.report()).accepted + (await stand.flights()) - (window?.used ?? 0);
    await stand.mark('emptied');
    await stand.store.operator.redis.call('FLUSHALL');
    await stand.operator.restore({ checkpoint });
    await stand.until('the window to be used up', () =>
      load.seen.some(({ refusal }) => refusal?.includes('five-hour') ?? false),
    );
    const { calls } = await stand.proves(SLOTS);
    expect(calls.length).toBeGreaterThanOrEqual(amount);
    expect(calls.length).toBeLessThanOrEqual(amount + since + SLOTS);
  },
);

test.concurrent('F1 F5 maxmemory reached: new calls are refused with 503, running ones settle, and nothing is lost', async () => {
  const nodes = windowOf(1_000_000);
  const binding = { waiting: { mode: 'Reject', maxWaitMs: 0 } } as const;
  await using stand = await Stand.open({
    name: 'memory-full',
    store: await openSingle(2),
    concurrency: SLOTS,
    sidecars: 2,
    nodes,
    binding,
  });
  const { redis } = stand.store.operator;
  const held = [0, 1].map((index) => stand.call(index, { text: '[[sim midhold=ever tokens=40]]', stream: true }));
  await stand.inFlight(2);
  await stand.mark('full');
  await redis.call('CONFIG', 'SET', 'maxmemory', '1mb');
  expect((await stand.call(0)).status).toBe(503);
  expect((await stand.call(1)).status).toBe(503);
  await stand.control.release('ever');
  for (const seen of await Promise.all(held)) expect(seen.status).toBe(200);
  await stand.until('the settlements', async () => (await stand.operator.tree()).leases === 0);
  expect(await used(stand)).toBe(2);
  await redis.call('CONFIG', 'SET', 'maxmemory', '0');
  await stand.mark('room again');
  expect((await stand.call(0)).status).toBe(200);
  await stand.proves(SLOTS);
  expect(await used(stand)).toBe(3);
});

fullOnly('Redis away for good: a call that may not wait is refused within its deadline, none hangs', async () => {
  const binding = { waiting: { mode: 'UntilSlot', maxWaitMs: 5000 } } as const;
  await using stand = await Stand.open({
    name: 'redis-gone',
    store: await openSingle(1),
    concurrency: SLOTS,
    sidecars: 1,
    binding,
  });
  await stand.store.server.kill();
  const refused = await Promise.all(Array.from({ length: 20 }, () => stand.call(0)));
  expect(new Set(refused.map(({ status }) => status))).toEqual(new Set([503]));
  expect(Math.max(...refused.map(({ startMs, endMs }) => endMs - startMs))).toBeLessThan(20_000);
  await stand.store.server.restart();
  await stand.store.operator.ready(AbortSignal.timeout(30_000));
  await stand.operator.restore();
  await stand.until('calls to be served again', async () => (await stand.call(0)).status === 200);
  await stand.proves(SLOTS);
});
