import { afterEach, expect, test } from 'vitest';
import { AppError } from '#sidecar/base/errors.ts';
import { settled } from './fixtures.ts';
import { admitted, CALL, closeDesks, deskWith, never, WHOLE } from './desk-fixture.ts';

afterEach(closeDesks);

test('draining settles everything in one call: by what callers saw, by the reserve, or not at all', async () => {
  const { desk, engine } = deskWith();
  const [listening, silent, unused] = [await admitted(desk), await admitted(desk), await admitted(desk)];
  for (const lease of [listening, silent]) await lease.start(never);
  const seen = {
    ...WHOLE,
    outcome: 'brokeMidStream',
    usage: { inputTokens: 10, cachedTokens: 0, outputTokens: 3 },
  } as const;
  listening.signal.addEventListener('abort', () => void listening.settle(seen));
  await desk.drain(never);
  expect(engine.settleCalls).toEqual([3]);
  const byId = new Map(engine.settled.map((each) => [each.id, each]));
  expect(byId.get(listening.id)).toMatchObject({ outcome: 'brokeMidStream', actual: { outputTokens: 3 } });
  expect(byId.get(silent.id)).toMatchObject({ outcome: 'brokeMidStream', actual: engine.asked[1]?.reserve });
  expect(byId.get(unused.id)).toMatchObject({ outcome: 'neverSent' });
  expect(await desk.admit(CALL, never)).toMatchObject({ kind: 'unavailable' });
});

test('a call cut between its start and its first byte is settled as never sent', async () => {
  const { desk, engine } = deskWith();
  const lease = await admitted(desk);
  const starting = lease.start(never);
  const draining = desk.drain(never);
  expect(await starting).toBe(false);
  await draining;
  await lease.cancel();
  expect(engine.settled).toMatchObject([{ id: lease.id, outcome: 'neverSent' }]);
});

test('a grant that comes while the process drains is given back before it ends', async () => {
  const { desk, engine } = deskWith();
  const gate = Promise.withResolvers<void>();
  engine.onAcquire = async ({ id }) => {
    await gate.promise;
    return engine.grant(id);
  };
  const admission = desk.admit(CALL, never);
  await settled();
  let drained = false;
  const draining = desk.drain(never).then(() => (drained = true));
  await settled();
  expect(drained).toBe(false);
  gate.resolve();
  await draining;
  expect(await admission).toMatchObject({ kind: 'unavailable' });
  expect(engine.cancelled).toEqual([engine.asked[0]?.id]);
});

test('a settlement whose delivery fails while the process drains is delivered again before it ends', async () => {
  const { desk, engine } = deskWith();
  const lease = await admitted(desk);
  await lease.start(never);
  const gate = Promise.withResolvers<never>();
  const settleNow = engine.settle.bind(engine);
  engine.settle = () => gate.promise;
  void lease.settle(WHOLE);
  const draining = desk.drain(never);
  await settled();
  engine.settle = settleNow;
  gate.reject(new AppError('unavailable', 'Redis is away'));
  await draining;
  expect(engine.settled).toMatchObject([{ id: lease.id, outcome: 'completed' }]);
});

test('a drain that Redis does not answer ends with its signal', async () => {
  const { desk, engine } = deskWith();
  engine.onAcquire = () => new Promise(() => undefined);
  void desk.admit(CALL, never);
  const patience = new AbortController();
  const draining = desk.drain(patience.signal);
  await settled();
  patience.abort(new Error('enough'));
  await draining;
  expect(engine.settled).toEqual([]);
});
