import { afterEach, expect, test } from 'vitest';
import { AppError } from '#sidecar/base/errors.ts';
import { settled, snapshotOf } from './fixtures.ts';
import { admitted, CALL, closeDesks, deskWith, never, WHOLE } from './desk-fixture.ts';

afterEach(closeDesks);

test('a settlement that cannot be delivered is kept and delivered with a later beat, once', async () => {
  const { desk, engine, clock } = deskWith();
  const lease = await admitted(desk);
  await lease.start(never);
  engine.down = true;
  await expect(lease.settle({ ...WHOLE, responseModel: 'glm-5.3' })).resolves.toEqual({ late: false });
  await clock.advance(6000);
  expect(engine.settled).toEqual([]);
  engine.down = false;
  await clock.advance(12_000);
  expect(engine.settled).toMatchObject([{ id: lease.id, outcome: 'completed', actual: { outputTokens: 500 } }]);
});

test('a settlement that meets a new epoch is registered and sent again', async () => {
  const { desk, engine } = deskWith();
  const lease = await admitted(desk);
  await lease.start(never);
  engine.epoch = 2;
  let first = true;
  engine.onSettle = () => {
    if (!first) return { kind: 'settled', late: true, overdraft: false };
    first = false;
    return { kind: 'epoch', epoch: 2 };
  };
  expect(await lease.settle(WHOLE)).toEqual({ late: true });
  expect(engine.registered[0]?.leases).toMatchObject([{ lease: { id: lease.id } }]);
});

test('only the first of settle and cancel counts', async () => {
  const { desk, engine } = deskWith();
  const lease = await admitted(desk);
  await lease.start(never);
  await lease.settle(WHOLE);
  await lease.settle({ ...WHOLE, outcome: 'brokeMidStream' });
  await lease.cancel();
  expect(engine.settled).toHaveLength(1);
  expect(engine.cancelled).toEqual([]);
});

test('outcomes that refund carry no use', async () => {
  const { desk, engine } = deskWith();
  const lease = await admitted(desk);
  await lease.start(never);
  await lease.settle({ ...WHOLE, outcome: 'refusedRate' });
  expect(engine.settled[0]?.actual).toMatchObject({ requests: 0, inputTokens: 0, nanoCost: 0 });
});

test('usage that no integer can hold is charged by the reservation', async () => {
  const { desk, engine } = deskWith();
  const lease = await admitted(desk);
  await lease.start(never);
  await lease.settle({ ...WHOLE, usage: { inputTokens: 2 ** 60, cachedTokens: 0, outputTokens: 0 } });
  expect(engine.settled[0]?.actual).toEqual(engine.asked[0]?.reserve);
});

test('leases are beaten for three times a lifetime, and nothing is sent when there are none', async () => {
  const { desk, engine, clock } = deskWith();
  const lease = await admitted(desk);
  await clock.advance(16_000);
  expect(engine.beats).toBeGreaterThanOrEqual(2);
  await lease.start(never);
  await lease.settle(WHOLE);
  await clock.advance(6000);
  const { beats } = engine;
  await clock.advance(60_000);
  expect(engine.beats).toBe(beats);
  expect(clock.sleeping).toBe(0);
});

test('a beat without an answer is given up after two seconds and tried again on a fresh connection', async () => {
  const { desk, engine, clock } = deskWith();
  await admitted(desk);
  const answer = engine.onBeat;
  engine.onBeat = () => {
    engine.onBeat = answer;
    return new Promise(() => undefined);
  };
  await clock.advance(8000);
  expect([engine.beats, engine.reconnects]).toEqual([2, 1]);
});

test('T3 a beat that fails twice is repeated after a second, for its leases live three beats only', async () => {
  const { desk, engine, clock } = deskWith();
  await admitted(desk);
  engine.down = true;
  await clock.advance(5500);
  const { beats } = engine;
  engine.down = false;
  await clock.advance(1100);
  expect(engine.beats).toBe(beats + 1);
});

test('T3 with nothing to beat for, a connection that swallows settlements is replaced all the same', async () => {
  const { desk, engine, clock } = deskWith();
  const lease = await admitted(desk);
  await lease.start(never);
  engine.down = true;
  await lease.settle(WHOLE);
  await clock.advance(6000);
  expect(engine.reconnects).toBeGreaterThan(0);
});

test('a lost lease that has not started is aborted and does not start', async () => {
  const { desk, engine, clock } = deskWith();
  const lease = await admitted(desk);
  engine.onBeat = () => engine.alive({ lost: [lease.id] });
  await clock.advance(6000);
  expect(lease.signal.aborted).toBe(true);
  expect(await lease.start(never)).toBe(false);
});

test('a lost lease whose stream runs goes on, is put back and settles late', async () => {
  const { desk, engine, clock } = deskWith();
  const lease = await admitted(desk);
  await lease.start(never);
  engine.onBeat = () => engine.alive({ lost: [lease.id] });
  await clock.advance(6000);
  expect(lease.signal.aborted).toBe(false);
  expect(engine.registered[0]?.leases).toMatchObject([{ lease: { id: lease.id }, sent: true }]);
  engine.onSettle = () => ({ kind: 'settled', late: true, overdraft: false });
  expect(await lease.settle(WHOLE)).toEqual({ late: true });
});

test('a lease that was not heard of for two beats is claimed before it starts, and does not start if it is gone', async () => {
  const { desk, engine, clock } = deskWith();
  const [kept, gone] = [await admitted(desk), await admitted(desk)];
  engine.down = true;
  await clock.advance(11_000);
  engine.down = false;
  expect(await kept.start(never)).toBe(true);
  engine.onClaim = () => false;
  expect(await gone.start(never)).toBe(false);
  expect(engine.claims).toBe(2);
});

test('T4 a lease that was gone when it was claimed is settled as never sent: a cancellation would not refund it', async () => {
  const { desk, engine, clock } = deskWith();
  const lease = await admitted(desk);
  clock.wallMs += 60_000;
  engine.onClaim = () => false;
  expect(await lease.start(never)).toBe(false);
  await lease.cancel();
  expect(engine.settled).toMatchObject([{ id: lease.id, outcome: 'neverSent', sentAfterMs: null }]);
  expect(engine.cancelled).toEqual([]);
});

test('a call is cut at its maxRuntime', async () => {
  const { desk, clock } = deskWith(snapshotOf({ maxRuntimeMs: 90_000 }));
  const lease = await admitted(desk);
  await lease.start(never);
  await clock.advance(89_000);
  expect(lease.signal.aborted).toBe(false);
  await clock.advance(1001);
  expect(lease.signal.aborted).toBe(true);
});

test('T6 a call that our side cut is settled at once, and its slot held for two seconds by Redis', async () => {
  const { desk, engine } = deskWith(snapshotOf({ perAgentConcurrency: 1 }));
  const lease = await admitted(desk);
  await lease.start(never);
  void lease.settle({ ...WHOLE, outcome: 'brokeMidStream', cutByUs: true });
  expect(desk.inFlight).toBe(0);
  expect(engine.settled).toMatchObject([{ outcome: 'brokeMidStream', holdMs: 2000 }]);
});

test('T6 a cut call that never left holds nothing', async () => {
  const { desk, engine } = deskWith();
  const lease = await admitted(desk);
  await lease.settle({ ...WHOLE, outcome: 'neverSent', cutByUs: true });
  expect(engine.settled).toMatchObject([{ outcome: 'neverSent', holdMs: 0 }]);
});

test('a settlement counts the seconds the call ran, and what its caller declared', async () => {
  const { desk, engine, clock } = deskWith();
  const admission = await desk.admit({ ...CALL, costUnits: 7 }, never);
  if (admission.kind !== 'admitted') throw new Error(admission.kind);
  await admission.lease.start(never);
  await clock.advance(2500);
  await admission.lease.settle(WHOLE);
  expect(engine.asked[0]?.reserve).toMatchObject({ costUnits: 7, runtimeSeconds: 1 });
  expect(engine.settled[0]?.actual).toMatchObject({ costUnits: 7, runtimeSeconds: 3 });
});

test('a lease that beats kept alive starts without asking, however old its grant is', async () => {
  const { desk, engine, clock } = deskWith();
  const lease = await admitted(desk);
  for (let beats = 0; beats < 6; beats++) {
    await clock.advance(5000);
    engine.serverNowMs += 5000;
  }
  expect(await lease.start(never)).toBe(true);
  expect(engine.claims).toBe(0);
});

test('a settlement on its way is not sent a second time by the beat', async () => {
  const { desk, engine, clock } = deskWith();
  const [slow, other] = [await admitted(desk), await admitted(desk)];
  await slow.start(never);
  const gate = Promise.withResolvers<void>();
  const settleNow = engine.settle.bind(engine);
  engine.settle = async (settlements) => {
    await gate.promise;
    return settleNow(settlements);
  };
  const settling = slow.settle(WHOLE);
  await clock.advance(12_000);
  gate.resolve();
  await settling;
  expect(engine.settleCalls).toEqual([1]);
  await other.cancel();
});

test('while only cancellations wait, no beat is sent', async () => {
  const { desk, engine, clock, registry } = deskWith();
  engine.down = true;
  await desk.admit(CALL, never);
  await clock.advance(12_000);
  expect(engine.beats).toBe(0);
  expect(await registry.metrics()).toContain('glmquota_redis_errors_total{call="acquire"} 1');
});

test('a beat that Redis refuses does not cost a connection that works', async () => {
  const { desk, engine, clock } = deskWith();
  await admitted(desk);
  engine.onBeat = () => {
    const cause = Object.assign(new Error('NOTREE'), { name: 'ReplyError' });
    throw new AppError('unavailable', 'this tree is not configured in Redis', { cause });
  };
  await clock.advance(8000);
  expect([engine.beats, engine.reconnects]).toEqual([1, 0]);
});

test('a call cut while its lease is claimed ends at once and is beaten no more', async () => {
  const { desk, engine, clock } = deskWith(snapshotOf({ maxRuntimeMs: 1000 }));
  const lease = await admitted(desk);
  await settled();
  const gate = Promise.withResolvers<boolean>();
  engine.claim = () => gate.promise;
  clock.wallMs += 60_000;
  const starting = lease.start(never);
  await clock.advance(1500);
  expect(lease.signal.aborted).toBe(true);
  gate.resolve(true);
  expect(await starting).toBe(false);
  await lease.cancel();
  expect(engine.settled).toMatchObject([{ id: lease.id, outcome: 'neverSent' }]);
  const { beats } = engine;
  await clock.advance(60_000);
  expect([engine.beats - beats, desk.inFlight]).toEqual([0, 0]);
});

test('a settlement that is refused for itself does not keep back the others', async () => {
  const { desk, engine, clock, registry } = deskWith();
  const leases = [await admitted(desk), await admitted(desk), await admitted(desk)];
  for (const lease of leases) await lease.start(never);
  engine.down = true;
  for (const lease of leases) await lease.settle(WHOLE);
  engine.down = false;
  engine.onSettle = ({ id }) => {
    if (id === leases[1]?.id) throw new AppError('invalid', 'not a settlement');
    return { kind: 'settled', late: false, overdraft: false };
  };
  await clock.advance(6000);
  expect(await registry.metrics()).toMatch(/glmquota_settlements_undelivered 0/);
  expect(engine.settled.filter(({ id }) => id === leases[1]?.id)).toHaveLength(2);
  expect(new Set(engine.settled.map(({ id }) => id)).size).toBe(3);
});

test('T5 a call whose work has started is settled, not cancelled', async () => {
  const { desk, engine } = deskWith();
  const lease = await admitted(desk);
  await lease.start(never);
  await expect(lease.cancel()).rejects.toMatchObject({ code: 'conflict' });
  await lease.settle(WHOLE);
  expect(engine).toMatchObject({ cancelled: [], settled: [{ outcome: 'completed' }] });
});
