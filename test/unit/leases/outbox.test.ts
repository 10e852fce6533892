import { expect, test } from 'vitest';
import type { AcquireRequest, Settlement } from '#sidecar/engine/terms.ts';
import { leaseOf } from '#sidecar/leases/lease-state.ts';
import { Outbox } from '#sidecar/leases/outbox.ts';
import { metricsForTest, quiet } from './fixtures.ts';
import { ScriptedEngine } from './scripted-engine.ts';

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
