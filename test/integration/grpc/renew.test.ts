import { expect, test, vi } from 'vitest';
import { Outcome } from '#proto/glmquota/v1/lease_pb.ts';
import { acquire, renewing, service } from '#test/support/grpc/lease-service.ts';
import { snapshotOf } from '#test/unit/leases/fixtures.ts';

test('Cancel after Renew is refused: the work has begun', async () => {
  const { client } = await service();
  const id = await acquire(client);
  const renew = renewing(client);
  renew.send(id);
  expect(await renew.next()).toEqual([id, true]);
  await expect(client.cancel({ id })).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringContaining('settle it'),
  });
  await renew.end();
});

test('a lease nobody renews lapses after its lifetime and is charged its estimate', async () => {
  const { client, engine, clock, desk } = await service();
  const id = await acquire(client);
  await clock.advance(14_000);
  expect(engine.settled).toEqual([]);
  await clock.advance(2_000);
  expect(engine.settled[0]).toMatchObject({
    outcome: 'brokeMidStream',
    actual: { inputTokens: 100, outputTokens: 50 },
  });
  expect(desk.inFlight).toBe(0);
  await expect(client.settle({ id, outcome: Outcome.COMPLETED })).rejects.toMatchObject({
    code: 'notFound',
    message: expect.stringContaining('was charged its estimate'),
  });
});

test('an open Renew stream keeps its leases alive; after it they have one lifetime', async () => {
  const { client, engine, clock } = await service();
  const id = await acquire(client);
  const renew = renewing(client);
  renew.send(id);
  expect(await renew.next()).toEqual([id, true]);
  await clock.advance(120_000);
  expect(engine.settled).toEqual([]);
  await renew.leave();
  await vi.waitFor(async () => {
    await clock.advance(1_000);
    expect(engine.settled).toHaveLength(1);
  }, 10_000);
});

test('Renew tells unasked when a lease is lost past its longest run time', async () => {
  const { client, clock } = await service(snapshotOf({ maxRuntimeMs: 60_000 }));
  const id = await acquire(client);
  const renew = renewing(client);
  renew.send(id);
  expect(await renew.next()).toEqual([id, true]);
  await clock.advance(65_000);
  expect(await renew.next()).toEqual([id, false]);
  renew.send(id);
  expect(await renew.next()).toEqual([id, false]);
  await renew.end();
});

test('a lease that was settled is no longer alive on its Renew stream', async () => {
  const { client } = await service();
  const id = await acquire(client);
  const renew = renewing(client);
  renew.send(id);
  await renew.next();
  await client.settle({ id, outcome: Outcome.COMPLETED });
  renew.send(id);
  expect(await renew.next()).toEqual([id, false]);
  await renew.end();
});

test('a lease Redis no longer has cannot begin its work', async () => {
  const { client, engine, clock } = await service();
  const id = await acquire(client);
  engine.onClaim = () => false;
  engine.onBeat = () => engine.alive({ serverNowMs: 0, lost: engine.asked.map((each) => each.id) });
  await clock.advance(6_000);
  const renew = renewing(client);
  renew.send(id);
  expect(await renew.next()).toEqual([id, false]);
  await renew.end();
});

test('a bad id ends the Renew stream with INVALID_ARGUMENT', async () => {
  const { client } = await service();
  const renew = renewing(client);
  renew.send('a b');
  await expect(renew.next()).rejects.toMatchObject({ code: 'invalid' });
});

test('Renew that cannot ask Redis in time is unavailable; the lease has one more lifetime', async () => {
  const { client, engine, clock } = await service();
  const id = await acquire(client);
  engine.down = true;
  await clock.advance(12_000);
  const renew = renewing(client);
  renew.send(id);
  await expect(renew.next()).rejects.toMatchObject({ code: 'unavailable' });
  engine.down = false;
  await clock.advance(10_000);
  expect(await client.settle({ id, outcome: Outcome.COMPLETED })).toMatchObject({ late: expect.any(Boolean) });
});
