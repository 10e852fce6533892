/** Another server takes over, with less memory than the one before (rules F5, T7, W2). */
import { expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { fullOnly } from './mode.ts';
import { countAt, peak } from './stand/oracle.ts';
import type { Seen } from './stand/load.ts';
import { passed } from './stand/passed.ts';
import { momentOf, Stand, type StandOptions } from './stand/stand.ts';
import { openReplicated, type ReplicatedStore } from './stand/stores.ts';
import type { TestRedis } from '#test/support/redis.ts';

const SLOTS = 4;
/** Beat, register, and what a call of the load lasts. */
const SETTLED_MS = 9000;
const HELD = { text: '[[sim midhold=ever tokens=40]]', stream: true };
const STRICT = { durability: 'Strict', waiting: { mode: 'UntilSlot', maxWaitMs: 120_000 } } as const;

async function openStand(
  name: string,
  rest: Partial<StandOptions<ReplicatedStore>> = {},
): Promise<Stand<ReplicatedStore>> {
  const store = await openReplicated(3, { config: ['repl-timeout 60'] });
  return Stand.open({ name, store, concurrency: SLOTS, sidecars: 3, ...rest });
}

/** From now on that server is the master, and all clients are led to it. */
async function promote({ store }: Stand<ReplicatedStore>, server: TestRedis): Promise<Redis> {
  const { topology } = store;
  const redis = topology.admin(server);
  await redis.call('REPLICAOF', 'NO', 'ONE');
  topology.front.leadTo(server.port);
  topology.front.drop();
  return redis;
}

function hasRegistered({ sidecars }: Stand<ReplicatedStore>, index: number): boolean {
  return sidecars[index]?.lines.some((line) => line.includes('lease.registered')) ?? false;
}

async function more({ control }: Stand<ReplicatedStore>, calls: number): Promise<void> {
  const { accepted } = await control.report();
  await control.until((report) => report.accepted >= accepted + calls, 60_000);
}

/** Sidecar 0 holds `SLOTS` calls of which the replica never heard, the worst it can lose; then the replica takes over. */
async function loseGrants(stand: Stand<ReplicatedStore>): Promise<readonly Promise<Seen>[]> {
  const { master, replica, link } = stand.store.topology;
  link.cut();
  const held = Array.from({ length: SLOTS }, () => stand.call(0, HELD));
  await stand.inFlight(SLOTS);
  await stand.mark('master killed');
  await master.kill();
  await promote(stand, replica);
  const [, second, third] = stand.sidecars;
  stand.load({ callers: 20, text: '[[sim ms=200]]', through: () => [second!, third!] });
  return held;
}

test.concurrent('F5 T7 fail-over to a replica that lags: never more than c in flight, though it forgot the grants and their owner', async () => {
  await using stand = await openStand('failover-lag');
  const held = await loseGrants(stand);
  await stand.until('the holder to register', () => hasRegistered(stand, 0));
  await passed(SETTLED_MS);
  await stand.mark('released');
  await stand.control.release('ever');
  for (const seen of await Promise.all(held)) expect(seen.status).toBe(200);
  await more(stand, 20);
  const proof = await stand.proves(SLOTS);
  expect(countAt(proof.steps, momentOf(proof, 'released'))).toBe(SLOTS);
});

fullOnly(
  'F5 fail-over to a replica that lags, and the holder is cut off: at most 2c in flight, at most c once it has registered',
  async () => {
    await using stand = await openStand('failover-cut-off');
    const held = await loseGrants(stand);
    stand.store.link(0).cut();
    await stand.inFlight(2 * SLOTS);
    stand.store.link(0).mend();
    await stand.mark('mended');
    await stand.until('the holder to register', () => hasRegistered(stand, 0));
    await stand.inFlight(SLOTS);
    await passed(3000);
    await stand.mark('released');
    await stand.control.release('ever');
    for (const seen of await Promise.all(held)) expect(seen.status).toBe(200);
    await more(stand, 20);
    const proof = await stand.proves(2 * SLOTS);
    expect(countAt(proof.steps, momentOf(proof, 'released'))).toBe(SLOTS);
  },
);

fullOnly('F5 fail-over to a replica that has everything: never more than c in flight, calls go on', async () => {
  await using stand = await openStand('failover-in-sync');
  const { topology } = stand.store;
  stand.load({ callers: 20, text: '[[sim ms=300]]' });
  await more(stand, 20);
  await topology.caughtUp();
  await stand.mark('master killed');
  await topology.master.kill();
  await promote(stand, topology.replica);
  await more(stand, 30);
  const proof = await stand.proves(SLOTS);
  expect(peak(proof.steps, momentOf(proof, 'master killed') + SETTLED_MS)).toBe(SLOTS);
});

fullOnly(
  'F5 T2 fail-over to a replica that lags, strict: nothing starts unconfirmed, never more than c in flight',
  async () => {
    await using stand = await openStand('failover-strict', { binding: STRICT });
    const { topology } = stand.store;
    const { master, replica, link } = topology;
    const held = stand.call(0, HELD);
    await stand.inFlight(1);
    stand.load({ callers: 20, text: '[[sim ms=300]]' });
    await more(stand, 20);
    link.cut();
    await stand.mark('replica cut off');
    await stand.inFlight(1);
    await stand.mark('master killed');
    await master.kill();
    const successor = await promote(stand, replica);
    // Its new replica: without one nothing is confirmed.
    await master.restart();
    await topology.admin(master).call('REPLICAOF', '127.0.0.1', replica.port);
    await stand.until('a replica in sync', async () =>
      /slave0:.*state=online/.test(String(await successor.info('replication'))),
    );
    await more(stand, 20);
    await stand.control.release('ever');
    expect((await held).status).toBe(200);
    await stand.proves(SLOTS);
  },
);

test.concurrent('F5 W2 R1 to R2 and back to an R1 that remembers old times: never more than c in flight, the epoch only rises', async () => {
  await using stand = await openStand('there-and-back');
  const { topology } = stand.store;
  const known = stand.call(0, HELD);
  await stand.inFlight(1);
  stand.load({ callers: 20, text: '[[sim ms=300]]' });
  await more(stand, 20);
  topology.link.cut();
  await more(stand, 10);
  const epochs = [(await stand.operator.tree()).epoch];
  await stand.mark('to R2');
  await promote(stand, topology.replica);
  await more(stand, 30);
  // R1 will never have heard of this one.
  const unknown = stand.call(1, HELD);
  await stand.until('a second call that stays', async () => (await stand.control.holds())['ever'] === 2);
  epochs.push((await stand.operator.tree()).epoch);
  await stand.mark('back to R1');
  topology.front.leadTo(topology.master.port);
  topology.front.drop();
  await more(stand, 30);
  epochs.push((await stand.operator.tree()).epoch);
  await stand.control.release('ever');
  expect([(await known).status, (await unknown).status]).toEqual([200, 200]);
  await stand.proves(SLOTS);
  expect(epochs).toEqual([...new Set(epochs)].toSorted((a, b) => a - b));
});
