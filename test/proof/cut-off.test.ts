/** Sidecars lose Redis while others, and the operator, still have it (rules F4, F5, T3). */
import { expect, test } from 'vitest';
import { limit } from '#test/support/engine.ts';
import type { StoreFailurePolicy } from '#sidecar/control/terms.ts';
import { fullOnly } from './mode.ts';
import { passed } from './stand/passed.ts';
import { countAt, peak } from './stand/oracle.ts';
import { momentOf, type Proof, Stand, type StandOptions } from './stand/stand.ts';
import { openSingle, type SingleStore } from './stand/stores.ts';

const SLOTS = 4;
const CALLERS = 20;
const TTL_MS = 15_000;
const NEXT_BEAT_MS = 9000;
const HELD = { text: '[[sim midhold=ever tokens=40]]', stream: true };

async function openStand(name: string, rest: Partial<StandOptions<SingleStore>> = {}): Promise<Stand<SingleStore>> {
  const sidecars = rest.sidecars ?? 3;
  return Stand.open({ name, store: await openSingle(sidecars), concurrency: SLOTS, sidecars, ...rest });
}

async function more({ control }: Stand<SingleStore>, calls: number): Promise<void> {
  const { accepted } = await control.report();
  await control.until((report) => report.accepted >= accepted + calls, 60_000);
}

function startsWithin({ calls }: Proof, fromMs: number, untilMs: number): number {
  return calls.filter(({ startMs }) => startMs > fromMs && startMs < untilMs).length;
}

test.concurrent('F5 a sidecar is cut off from Redis, operator and others are not: at most 2c in flight, at most c once it is back', async () => {
  await using stand = await openStand('cut-off');
  const held = Array.from({ length: SLOTS }, () => stand.call(0, HELD));
  await stand.inFlight(SLOTS);
  stand.store.link(0).cut();
  await stand.mark('cut off');
  const [, second, third] = stand.sidecars;
  stand.load({ callers: CALLERS, text: '[[sim ms=200]]', through: () => [second!, third!] });
  await stand.inFlight(2 * SLOTS);
  stand.store.link(0).mend();
  await stand.mark('mended');
  // Its leases are counted again once nobody else is let in.
  await stand.until('all others to wait', async () => (await stand.operator.tree()).nodes[0]?.queued === CALLERS);
  await stand.inFlight(SLOTS);
  await stand.mark('released');
  await stand.control.release('ever');
  for (const seen of await Promise.all(held)) expect(seen.status).toBe(200);
  await more(stand, 20);
  const proof = await stand.proves(2 * SLOTS);
  expect(countAt(proof.steps, momentOf(proof, 'released'))).toBe(SLOTS);
});

fullOnly(
  'F5 T3 all sidecars are cut off for longer than TTL: never more than c in flight, no lease is lost',
  async () => {
    await using stand = await openStand('cut-off-all');
    const held = [0, 1, 2].map((index) => stand.call(index, HELD));
    await stand.inFlight(3);
    stand.load({ callers: 20, text: '[[sim ms=200]]' });
    await more(stand, 20);
    for (const index of [0, 1, 2]) stand.store.link(index).cut();
    await stand.mark('cut off');
    await passed(TTL_MS + 7000);
    for (const index of [0, 1, 2]) stand.store.link(index).mend();
    await stand.mark('mended');
    await more(stand, 20);
    await stand.control.release('ever');
    for (const seen of await Promise.all(held)) expect(seen.status).toBe(200);
    await stand.proves(SLOTS);
    expect(stand.sidecars.flatMap(({ lines }) => lines.filter((line) => line.includes('lease.lost')))).toEqual([]);
  },
);

/** Redis goes away for all and comes back; what starts in between is up to the policy. */
async function outage(
  name: string,
  onStoreFailure: StoreFailurePolicy,
): Promise<{ stand: Stand<SingleStore>; proof: Proof }> {
  const limits = [limit('requests', 1_000_000, { window: { type: 'Anchored', durationMs: 5 * 3_600_000 } })];
  const nodes = { account: { concurrency: SLOTS, limits } };
  const stand = await openStand(name, { sidecars: 2, nodes, binding: { onStoreFailure } });
  stand.load({ callers: 16, text: '[[sim ms=300]]' });
  // Until every sidecar has beaten and knows the limits.
  await passed(NEXT_BEAT_MS);
  await stand.mark('Redis goes');
  stand.store.server.pause();
  await passed(12_000);
  await stand.mark('Redis is back');
  stand.store.server.resume();
  await more(stand, 20);
  await stand.quiet();
  return { stand, proof: await stand.book() };
}

async function used({ operator }: Stand<SingleStore>): Promise<number> {
  return (await operator.tree()).nodes[0]?.usage[0]?.used ?? Number.NaN;
}

fullOnly('F4 Closed: nothing starts while Redis is away', async () => {
  const { stand, proof } = await outage('outage-closed', {
    policy: 'Closed',
    localSharePercent: 50,
    maxDurationMs: 60_000,
  });
  await using _ = stand;
  expect(startsWithin(proof, momentOf(proof, 'Redis goes') + 100, momentOf(proof, 'Redis is back'))).toBe(0);
  await stand.proves(SLOTS);
  expect(await used(stand)).toBe(proof.calls.length);
});

fullOnly(
  'F4 LocalShare of 50 %: at most half of c starts while Redis is away, and all of it is charged afterwards',
  async () => {
    const { stand, proof } = await outage('outage-local-share', {
      policy: 'LocalShare',
      localSharePercent: 50,
      maxDurationMs: 60_000,
    });
    await using _ = stand;
    const [goes, back] = [momentOf(proof, 'Redis goes'), momentOf(proof, 'Redis is back')];
    expect(startsWithin(proof, goes + 3000, back)).toBeGreaterThan(0);
    expect(peak(proof.steps, goes + 2000, back)).toBeLessThanOrEqual(SLOTS / 2);
    await stand.proves(SLOTS);
    expect(await used(stand)).toBe(proof.calls.length);
  },
);

fullOnly(
  'F4 Open: calls start while Redis is away, only for as long as the policy says, and are charged afterwards',
  async () => {
    const { stand, proof } = await outage('outage-open', {
      policy: 'Open',
      localSharePercent: 50,
      maxDurationMs: 6000,
    });
    await using _ = stand;
    const [goes, back] = [momentOf(proof, 'Redis goes'), momentOf(proof, 'Redis is back')];
    expect(peak(proof.steps, goes + 3000, back)).toBeGreaterThan(SLOTS);
    expect(startsWithin(proof, goes + 6000 + 3000, back)).toBe(0);
    await stand.proves(16);
    expect(await used(stand)).toBe(proof.calls.length);
  },
);
