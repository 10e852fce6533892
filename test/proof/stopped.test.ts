/** A process stands still longer than a lease lives, and goes on as if nothing had been (rules T2, T3, F5). */
import { expect, test } from 'vitest';
import { peak } from './stand/oracle.ts';
import { passed } from './stand/passed.ts';
import { momentOf, Stand } from './stand/stand.ts';
import { openSingle } from './stand/stores.ts';

const SLOTS = 4;
const LONGER_THAN_TTL_MS = 20_000;
/** H and a tenth, and what a call of the load lasts. */
const NEXT_BEAT_MS = 8000;
const OK = { status: 200 };

test.concurrent('F5 SIGSTOP of a sidecar beyond TTL: at most 2c in flight, and at most c once it has beaten again', async () => {
  await using stand = await Stand.open({
    name: 'stop-sidecar',
    store: await openSingle(3),
    concurrency: SLOTS,
    sidecars: 3,
  });
  const text = '[[sim midhold=ever tokens=40]]';
  const stopped = Array.from({ length: SLOTS }, () => stand.call(0, { text, stream: true }));
  await stand.inFlight(SLOTS);
  stand.sidecars[0]?.pause();
  await stand.mark('stopped');
  const [, second, third] = stand.sidecars;
  stand.load({ callers: 20, text: '[[sim ms=200]]', through: () => [second!, third!] });
  // Its leases expire, and their slots go to others while the vendor still counts its calls.
  await stand.inFlight(2 * SLOTS);
  stand.sidecars[0]?.resume();
  await stand.mark('goes on');
  await stand.inFlight(SLOTS);
  await passed(NEXT_BEAT_MS + 2000);
  await stand.mark('released');
  await stand.control.release('ever');
  for (const seen of await Promise.all(stopped)) expect(seen).toMatchObject(OK);
  const proof = await stand.proves(2 * SLOTS);
  const [goesOn, released] = [momentOf(proof, 'goes on'), momentOf(proof, 'released')];
  expect(peak(proof.steps, goesOn + NEXT_BEAT_MS, released)).toBe(SLOTS);
});

test.concurrent('F5 SIGSTOP of a waiter across its grant: never more than c in flight, and it is served in the end', async () => {
  await using stand = await Stand.open({
    name: 'stop-waiter',
    store: await openSingle(3),
    concurrency: 2,
    sidecars: 3,
  });
  const queued = async (): Promise<number | undefined> => (await stand.operator.tree()).nodes[0]?.queued;
  const first = [1, 1].map((index) => stand.call(index, { text: '[[sim hold=first]]' }));
  await stand.inFlight(2);
  const waiting = stand.call(0, { text: '[[sim hold=crowd]]' });
  await stand.until('the waiter', async () => (await queued()) === 1);
  stand.sidecars[0]?.pause();
  const crowd = [1, 2, 1, 2].map((index) => stand.call(index, { text: '[[sim hold=crowd]]' }));
  await stand.until('the crowd', async () => (await queued()) === 5);
  await stand.control.release('first');
  await stand.mark('granted while stopped');
  await stand.inFlight(1);
  // Its grant lapses unclaimed, and the next in line has the slot.
  await stand.inFlight(2);
  stand.sidecars[0]?.resume();
  await stand.mark('goes on');
  await stand.until('the waiter to stand in line again', async () => (await queued()) === 3);
  for (const seen of await stand.letThrough('crowd', [waiting, ...crowd])) expect(seen).toMatchObject(OK);
  for (const seen of await Promise.all(first)) expect(seen).toMatchObject(OK);
  await stand.proves(2);
});

test.concurrent('F5 SIGSTOP of Redis beyond TTL: never more than c in flight, no lease is lost, grants go on within 10 s', async () => {
  await using stand = await Stand.open({
    name: 'stop-redis',
    store: await openSingle(3),
    concurrency: SLOTS,
    sidecars: 3,
  });
  const held = [0, 0, 1].map((index) => stand.call(index, { text: '[[sim midhold=ever tokens=40]]', stream: true }));
  await stand.inFlight(3);
  stand.load({ callers: 20, text: '[[sim ms=200]]' });
  await stand.accepted(20);
  stand.store.server.pause();
  await stand.mark('Redis stops');
  await passed(LONGER_THAN_TTL_MS);
  stand.store.server.resume();
  await stand.mark('goes on');
  const { accepted } = await stand.control.report();
  await stand.control.until((report) => report.accepted > accepted + 20, 10_000);
  await stand.mark('released');
  await stand.control.release('ever');
  for (const seen of await Promise.all(held)) expect(seen).toMatchObject(OK);
  await stand.proves(SLOTS);
  expect(stand.sidecars.flatMap(({ lines }) => lines.filter((line) => line.includes('lease.lost')))).toEqual([]);
});
