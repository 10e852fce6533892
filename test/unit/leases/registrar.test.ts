import { expect, test } from 'vitest';
import type { AcquireRequest } from '#sidecar/engine/terms.ts';
import { decideStart, leaseOf } from '#sidecar/leases/lease-state.ts';
import { Outbox } from '#sidecar/leases/outbox.ts';
import { Registrar } from '#sidecar/leases/registrar.ts';
import { TreeView } from '#sidecar/leases/tree-view.ts';
import { metricsForTest, quiet } from './fixtures.ts';
import { ScriptedEngine } from './scripted-engine.ts';

function registrar() {
  const engine = new ScriptedEngine();
  const view = new TreeView();
  const { metrics } = metricsForTest();
  const nothing = async (): Promise<void> => undefined;
  const outbox = new Outbox({ engine, log: quiet, metrics, register: nothing, introduce: nothing });
  const lease = leaseOf({ id: 'a' } as AcquireRequest, engine.grant('a'), { askedMs: 0, answeredMs: 0 });
  const leases = new Map([['a', lease]]);
  const all = { engine, owner: 'pod-1/x', view, leases, outbox, log: quiet, onMoved: () => undefined };
  return { engine, view, outbox, lease, registrar: new Registrar(all) };
}

test('T2 a lease that was registered anew is claimed before it starts: its times were of another memory', async () => {
  const { engine, view, lease, registrar: of } = registrar();
  engine.epoch = 2;
  await of.register(2);
  view.learn({ monotonicMs: 1000, wallMs: 1000 }, { serverNowMs: engine.serverNowMs, epoch: 2 });
  const now = { monotonicMs: 1001, wallMs: 1001 };
  expect(decideStart(lease, view.sync, now, { isStrict: false, beatMs: 5000 })).toBe('claim');
});

test('T7 a registration disclaims what was never used, and tells Redis of it only once', async () => {
  const { engine, outbox, registrar: of } = registrar();
  await outbox.cancel('unused', { later: true });
  engine.epoch = 2;
  await of.register(2);
  expect(engine.registered).toMatchObject([{ disclaimed: ['unused'], leases: [{ lease: { id: 'a' } }] }]);
  await outbox.flush();
  expect(engine.cancelled).toEqual([]);
});

test('T7 calls that meet a new epoch together share one registration', async () => {
  const { engine, registrar: of } = registrar();
  engine.epoch = 2;
  await Promise.all([of.register(2), of.register(2)]);
  expect(engine.registered).toHaveLength(1);
});
