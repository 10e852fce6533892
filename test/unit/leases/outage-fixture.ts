import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import type { NodeSnapshot, TreeSnapshot } from '#sidecar/engine/terms.ts';
import { admitted, deskWith, never, PATIENT, WHOLE } from './desk-fixture.ts';
import { snapshotOf } from './fixtures.ts';

type StoreFailure = SidecarSnapshot['binding']['onStoreFailure'];

function nodeOf(name: string, concurrency: number | null): NodeSnapshot {
  const state = {
    stopped: false,
    queued: 0,
    frozenUntilMs: null,
    breaker: 'Closed',
    rateWaitUs: 0,
    oldestWaiterMs: null,
  } as const;
  return { name, inFlight: 0, concurrency, usage: [], ...state };
}

export function treeOf(concurrency: number, requests: number | null = null): TreeSnapshot {
  const window = { limit: 'five-hour', resource: 'Requests', used: 0, reserved: 0, resetsAtMs: null } as const;
  const usage = requests === null ? [] : [{ ...window, amount: requests }];
  return {
    key: 'tree',
    epoch: 1,
    revision: { leaseCreatedMs: 1, transitions: 0, generation: 7 },
    configHash: '',
    serverNowMs: 0,
    nodes: [{ ...nodeOf('account', concurrency), usage }, nodeOf('quota:team/a', null), nodeOf('model:other', null)],
    leases: 0,
  };
}

/** A desk that knows its limits, and whose Redis is away since just now. */
export async function outage(change: Partial<StoreFailure> = {}, binding: Partial<SidecarSnapshot['binding']> = {}) {
  const onStoreFailure = { policy: 'LocalShare', localSharePercent: 100, maxDurationMs: 300_000, ...change } as const;
  const world = deskWith(snapshotOf({ ...PATIENT, onStoreFailure, ...binding }));
  const { engine, desk, clock } = world;
  engine.tree = treeOf(2);
  const lease = await admitted(desk);
  await clock.advance(6000);
  await lease.start(never);
  await lease.settle(WHOLE);
  await clock.advance(6000);
  engine.down = true;
  return world;
}
