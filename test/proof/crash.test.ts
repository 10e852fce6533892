/** A sidecar is killed with calls in its hands (rule F5). Sidecar 0 is the victim, the others want every slot they can get. */
import { expect, test } from 'vitest';
import { ENGINE_CONSTANTS } from '#sidecar/engine/constants.ts';
import { limit } from '#test/support/engine.ts';
import { fullOnly } from './mode.ts';
import { firstReaching } from './stand/oracle.ts';
import { momentOf, Stand } from './stand/stand.ts';
import { openSingle, type SingleStore } from './stand/stores.ts';

const SLOTS = 4;
const TTL_MS = 15_000;
const BEAT_MS = 5000;
const { CLAIM_TTL_MS } = ENGINE_CONSTANTS;
/** The operator looks once a second; the rest is what a busy machine takes. */
const LOOK_MS = 2000;

const REQUESTS = limit('requests', 1_000_000, { window: { type: 'Anchored', durationMs: 5 * 3_600_000 } });

async function openStand(name: string): Promise<Stand<SingleStore>> {
  const nodes = { account: { concurrency: SLOTS, limits: [REQUESTS] } };
  return Stand.open({ name, store: await openSingle(3), concurrency: SLOTS, sidecars: 3, nodes });
}

/** What the account's window has used. */
async function used({ operator }: Stand<SingleStore>): Promise<number> {
  const { nodes } = await operator.tree();
  return nodes.find(({ name }) => name === 'account')?.usage[0]?.used ?? Number.NaN;
}

/** From the mark until the vendor has `SLOTS` calls at once again. */
async function returnMs(stand: Stand<SingleStore>, label: string): Promise<number> {
  const proof = await stand.proves(SLOTS);
  const from = momentOf(proof, label);
  const back = firstReaching(proof.steps, SLOTS, from);
  if (back === null) throw new Error('the slot never came back');
  return back - from;
}

test.concurrent('F5 kill -9 before the send: never more than c in flight, the granted slot is back within 15 s', async () => {
  await using stand = await openStand('kill-before-send');
  const held = Array.from({ length: SLOTS }, () => stand.call(1, { text: '[[sim hold=all]]' }));
  await stand.inFlight(SLOTS);
  const waiting = stand.call(0);
  await stand.until('a waiter', async () => (await stand.operator.tree()).nodes[0]?.queued === 1);
  stand.sidecars[0]?.pause();
  const crowd = Array.from({ length: 2 * SLOTS }, () => stand.call(2, { text: '[[sim hold=crowd]]' }));
  await stand.until('the crowd to wait', async () => (await stand.operator.tree()).nodes[0]?.queued === 1 + 2 * SLOTS);
  await stand.control.release('all');
  await stand.mark('granted');
  await stand.inFlight(SLOTS - 1);
  expect((await stand.operator.tree()).leases).toBe(SLOTS);
  await stand.sidecars[0]?.kill();
  expect((await waiting).status).toBe(0);
  await stand.inFlight(SLOTS);
  const ended = [...(await Promise.all(held)), ...(await stand.letThrough('crowd', crowd))];
  expect(ended.filter(({ status }) => status !== 200)).toEqual([]);
  expect(await returnMs(stand, 'granted')).toBeLessThanOrEqual(CLAIM_TTL_MS + LOOK_MS);
  // Nobody can say that it was not sent: it is charged.
  expect(await used(stand)).toBe(3 * SLOTS + 1);
});

test.concurrent('F5 kill -9 mid-stream: never more than c in flight, slots are back within TTL + H + 2 s, charged once', async () => {
  await using stand = await openStand('kill-mid-stream');
  const victims = [0, 0].map((index) => stand.call(index, { text: '[[sim midhold=ever tokens=400]]', stream: true }));
  await stand.inFlight(2);
  const load = stand.load({ callers: 20, text: '[[sim ms=200]]' });
  await stand.accepted(20);
  await stand.inFlight(SLOTS);
  await stand.mark('killed');
  const killedMs = performance.now();
  await stand.sidecars[0]?.kill();
  expect((await Promise.all(victims)).map(({ status }) => status)).toEqual([0, 0]);
  await stand.inFlight(SLOTS);
  expect(await returnMs(stand, 'killed')).toBeLessThanOrEqual(TTL_MS + BEAT_MS + LOOK_MS);
  const { calls } = await stand.book();
  const sent = new Set(calls.map(({ clientId }) => clientId));
  const unsent = load.seen.filter(({ id, status, startMs }) => status === 0 && startMs < killedMs && !sent.has(id));
  // Those who waited with the dead may have been granted before they left the queue: nobody can say that they were not sent.
  expect(await used(stand)).toBeGreaterThanOrEqual(calls.length);
  expect(await used(stand)).toBeLessThanOrEqual(calls.length + unsent.length);
});

fullOnly(
  'F5 kill -9 after the last byte, before the settlement: never more than c in flight, slots are back within TTL + H + 2 s',
  async () => {
    await using stand = await openStand('kill-before-settle');
    const victims = [0, 0].map((index) => stand.call(index, { text: '[[sim midhold=last tokens=40]]', stream: true }));
    await stand.inFlight(2);
    stand.sidecars[0]?.pause();
    await stand.control.release('last');
    await stand.inFlight(0);
    await stand.mark('answered');
    stand.load({ callers: 20, text: '[[sim ms=200]]' });
    await stand.mark('killed');
    await stand.sidecars[0]?.kill();
    expect((await Promise.all(victims)).map(({ status }) => status)).toEqual([0, 0]);
    await stand.inFlight(SLOTS);
    expect(await returnMs(stand, 'killed')).toBeLessThanOrEqual(TTL_MS + BEAT_MS + LOOK_MS);
    expect(await used(stand)).toBe((await stand.book()).calls.length);
  },
);
