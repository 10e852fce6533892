/** Windows as the vendor's book has them, counted anew in every way a vendor might count (rules N1, T6). */
import { expect, test } from 'vitest';
import type { Report } from '#test/support/glm-simulator/report.ts';
import { functionKeys } from '#sidecar/engine/keys.ts';
import { decodeMeta } from '#sidecar/engine/ledger/records.ts';
import { limit } from '#test/support/engine.ts';
import { isFull, leftOut } from './mode.ts';
import { peak, sweep } from './stand/oracle.ts';
import { COUNTINGS, recount, straddling } from './stand/recount.ts';
import { ACCOUNT, momentOf, Stand } from './stand/stand.ts';
import { openSingle, type SingleStore } from './stand/stores.ts';
import { TREE_KEY } from './stand/tree.ts';

const SLOTS = 4;
const WINDOW_MS = 10_000;
const AMOUNT = 24;
/** One step of the learnt hold, and three: the next step comes half a minute after the last. */
const SHORT_LAG_MS = 30;
const LONG_LAG_MS = 150;
const PATIENT = { waiting: { mode: 'UntilWindow', maxWaitMs: 120_000 } } as const;

/** The vendor's window ends. */
async function reset({ control }: Stand<SingleStore>): Promise<void> {
  const ended = ({ accounts }: Report): number => accounts[ACCOUNT]?.windows['short']?.past.length ?? 0;
  const before = ended(await control.report());
  await control.until((report) => ended(report) > before, 60_000);
}

/** How long a slot is held back for a vendor that counts a call longer than it lasts. */
async function holdMs({ store }: Stand<SingleStore>): Promise<number> {
  const meta = await store.operator.redis.hgetBuffer(functionKeys(TREE_KEY)[0], 'state3');
  return meta === null ? 0 : decodeMeta(meta).hold_ms;
}

async function more({ control }: Stand<SingleStore>, calls: number): Promise<void> {
  const { accepted } = await control.report();
  await control.until((report) => report.accepted >= accepted + calls, 60_000);
}

test.concurrent('N1 calls straddle the resets of a window: no way of counting finds more than its amount, and the vendor refuses nothing', async () => {
  leftOut('four of six resets of a window that calls straddle');
  const window = { type: 'Anchored', durationMs: WINDOW_MS } as const;
  const limits = [limit('short', AMOUNT, { resource: 'Prompts', window })];
  await using stand = await Stand.open({
    name: 'windows',
    store: await openSingle(3),
    concurrency: SLOTS,
    sidecars: 3,
    nodes: { account: { concurrency: SLOTS, limits } },
    binding: PATIENT,
    vendor: { windows: [{ name: 'short', resource: 'Prompts', amount: AMOUNT, durationMs: WINDOW_MS }] },
    isStrictVendor: true,
  });
  const load = stand.load({ callers: 8, text: '[[sim ms=150]]' });
  const count = isFull ? 6 : 2;
  for (let round = 1; round <= count; round++) {
    const straddler = stand.call(round % 3, { text: '[[sim midhold=reset tokens=40]]', stream: true });
    await stand.until('the straddler', async () => (await stand.control.holds())['reset'] === 1);
    await reset(stand);
    await more(stand, 2);
    await stand.mark(`reset ${round}`);
    await stand.control.release('reset');
    expect((await straddler).status).toBe(200);
  }
  const { calls } = await stand.proves(SLOTS);
  expect(straddling(calls, WINDOW_MS)).toBeGreaterThanOrEqual(count);
  const most = COUNTINGS.map((counting) => Math.max(...recount(calls, WINDOW_MS, counting).map(({ used }) => used)));
  expect(Math.max(...most)).toBeLessThanOrEqual(AMOUNT);
  // Else it was not the window that held them back.
  expect(Math.max(...most)).toBeGreaterThanOrEqual(AMOUNT - SLOTS);
  const { refused, overAdmission } = await stand.control.report();
  expect({ refused, overAdmission }).toMatchObject({
    refused: {},
    overAdmission: { windowCalls: 0, maxWindowExcess: 0 },
  });
  expect(load.seen.filter(({ status }) => status !== 200)).toEqual([]);
});

test.concurrent('T6 a vendor counts each call a little longer: hand-offs learn to wait for it, and it refuses no more', async () => {
  leftOut(`a vendor that counts each call ${LONG_LAG_MS} ms longer, ${SHORT_LAG_MS} ms here`);
  const lagMs = isFull ? LONG_LAG_MS : SHORT_LAG_MS;
  await using stand = await Stand.open({
    name: 'vendor-lag',
    store: await openSingle(3),
    concurrency: SLOTS,
    sidecars: 3,
    binding: PATIENT,
    vendor: { releaseLagMs: lagMs },
    isStrictVendor: true,
  });
  stand.load({ callers: 12, text: '[[sim ms=200]]' });
  await stand.until('the hold to be learnt', async () => (await holdMs(stand)) >= lagMs, 180_000);
  // Slots handed over by the hold of before are still on their way.
  await more(stand, 2 * SLOTS);
  await stand.mark('learnt');
  await more(stand, 60);
  const { calls, ...proof } = await stand.proves(SLOTS);
  const learntMs = momentOf({ calls, ...proof }, 'learnt');
  expect(calls.filter(({ code, startMs }) => code !== null && startMs > learntMs)).toEqual([]);
  const counted = calls.map(({ startMs, endMs }) => ({ startMs, endMs: endMs + lagMs }));
  expect(peak(sweep(counted), learntMs)).toBe(SLOTS);
});
