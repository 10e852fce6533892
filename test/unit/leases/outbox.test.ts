import { expect, test } from 'vitest';
import type { AcquireRequest, Settlement } from '#sidecar/engine/terms.ts';
import type { Amounts } from '#sidecar/engine/tree-terms.ts';
import { type Lease, leaseOf, localLeaseOf } from '#sidecar/leases/lease-state.ts';
import { NO_AMOUNTS, plus } from '#sidecar/leases/tally.ts';
import { Outbox } from '#sidecar/leases/outbox.ts';
import { metricsForTest, quiet } from './fixtures.ts';
import { ScriptedEngine } from './scripted-engine.ts';

const ONE: Amounts = { ...NO_AMOUNTS, requests: 1 };

function outbox() {
  const engine = new ScriptedEngine();
  const { metrics } = metricsForTest();
  const nothing = async (): Promise<void> => undefined;
  const box = new Outbox({ engine, log: quiet, metrics, register: nothing, introduce: nothing });
  const request = { id: 'a' } as AcquireRequest;
  const lease = leaseOf(request, engine.grant('a'), { askedMs: 0, answeredMs: 0 });
  const settlement = { id: 'a', fence: lease.fence, outcome: 'completed' } as Settlement;
  return { engine, box, lease, settlement };
}

test('while it holds, a swap keeps the settlement and asks for nothing', async () => {
  const { engine, box, lease, settlement } = outbox();
  box.hold();
  const swapped = await box.swap(lease, settlement, { id: 'b' } as AcquireRequest);
  expect(swapped).toEqual({ settled: null, verdict: null });
  expect(engine.swaps).toEqual([]);
  await box.flush();
  expect(engine.settled).toEqual([settlement]);
});

test('F4 calls that Redis never heard of are merged when there are too many, not forgotten', async () => {
  const engine = new ScriptedEngine();
  const { metrics, registry } = metricsForTest();
  const introduced: Lease[] = [];
  const box = new Outbox({
    engine,
    log: quiet,
    metrics,
    register: async () => undefined,
    introduce: async (leases) => void introduced.push(...leases),
    capacity: 3,
  });
  box.hold();
  for (let calls = 0; calls < 10; calls++) {
    // Two models: what counts on other nodes is not mixed.
    const request = {
      id: `call-${calls}`,
      leaf: 'quota:a/b',
      model: `m${calls % 2}`,
      attributes: {},
      reserve: ONE,
    } as AcquireRequest;
    const lease = localLeaseOf(request, { epoch: 1, ttlMs: 15_000, atMs: 0 });
    const actual = { ...ONE, outputTokens: calls };
    void box.settle(lease, { id: request.id, fence: 0, outcome: 'completed', actual } as Settlement);
  }
  await box.flush();
  expect(engine.settled).toHaveLength(3);
  const total = (of: readonly Amounts[]) => of.reduce((sum, each) => plus(sum, each), NO_AMOUNTS);
  expect(total(engine.settled.map(({ actual }) => actual))).toEqual({ ...ONE, requests: 10, outputTokens: 45 });
  expect(total(introduced.map(({ request }) => request.reserve))).toMatchObject({ requests: 10 });
  expect(introduced.map(({ request }) => request.id).toSorted()).toEqual(engine.settled.map(({ id }) => id).toSorted());
  expect(await registry.metrics()).toContain('glmquota_settlements_dropped_total 0');
});

test('of other calls the oldest is dropped, and counted', async () => {
  const { engine, lease, settlement } = outbox();
  const { metrics, registry } = metricsForTest();
  const nothing = async (): Promise<void> => undefined;
  const box = new Outbox({ engine, log: quiet, metrics, register: nothing, introduce: nothing, capacity: 1 });
  box.hold();
  void box.settle(lease, settlement);
  void box.settle(lease, { ...settlement, id: 'b' });
  await box.flush();
  expect(engine.settled.map(({ id }) => id)).toEqual(['b']);
  expect(await registry.metrics()).toContain('glmquota_settlements_dropped_total 1');
});

test('an id is cancelled after its settlement, so that what was used is not refunded', async () => {
  const { engine, box, lease, settlement } = outbox();
  const told: string[] = [];
  engine.onSettle = () => {
    told.push('settled');
    return { kind: 'settled', late: false, overdraft: false };
  };
  const cancel = engine.cancel.bind(engine);
  engine.cancel = (id) => {
    told.push('cancelled');
    return cancel(id);
  };
  box.hold();
  await box.cancel('a', { later: true });
  await box.settle(lease, settlement);
  await box.flush();
  expect(told).toEqual(['settled', 'cancelled']);
});

test('F6 a call carries at most 256 settlements', async () => {
  const { engine, box, lease, settlement } = outbox();
  box.hold();
  for (let calls = 0; calls < 300; calls++) void box.settle(lease, { ...settlement, id: `call-${calls}` });
  await box.flush();
  expect(engine.settleCalls).toEqual([256, 44]);
});

test('F6 of cancellations that cannot be told, the latest 10,000 are kept', async () => {
  const { box } = outbox();
  for (let calls = 0; calls <= 10_000; calls++) await box.cancel(`call-${calls}`, { later: true });
  expect(box.unused()).toHaveLength(10_000);
  expect(box.unused()[0]).toBe('call-1');
});

test('F4 what Redis granted is not merged with what it never heard of, nor what is refunded or counts elsewhere', async () => {
  const { engine, lease, settlement } = outbox();
  const { metrics } = metricsForTest();
  const nothing = async (): Promise<void> => undefined;
  const request = { id: 'local', leaf: 'quota:a/b', model: 'm', attributes: {}, reserve: ONE } as AcquireRequest;
  const local = localLeaseOf(request, { epoch: 1, ttlMs: 15_000, atMs: 0 });
  const granted = { ...lease, request };
  const ending = { ...settlement, actual: ONE };
  const two = async (one: [Lease, Settlement], other: [Lease, Settlement]): Promise<number | undefined> => {
    const box = new Outbox({ engine, log: quiet, metrics, register: nothing, introduce: nothing, capacity: 1 });
    box.hold();
    void box.settle(...one);
    void box.settle(...other);
    engine.settled.length = 0;
    await box.flush();
    return engine.settled[0]?.actual.requests;
  };
  const twin = { ...ending, id: 'twin' };
  expect(await two([local, ending], [local, twin])).toBe(2);
  expect(await two([local, ending], [granted, twin])).toBe(1);
  expect(await two([local, ending], [{ ...local, request: { ...request, model: 'other' } }, twin])).toBe(1);
  expect(await two([local, { ...ending, outcome: 'neverSent' }], [local, twin])).toBe(1);
});
