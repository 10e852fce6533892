import { createCell } from '#sidecar/base/cell.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import { createLeaseDesk } from '#sidecar/leases/desk.ts';
import type { HeldLease } from '#sidecar/leases/terms.ts';
import { ManualClock, metricsForTest, quiet, snapshotOf } from './fixtures.ts';
import { ScriptedEngine } from './scripted-engine.ts';

export const ESTIMATE = { inputTokens: 1000, cachedTokens: 0, outputTokens: 500 };
/** How a call ends that the vendor answered to the end. */
export const WHOLE = { outcome: 'completed', usage: ESTIMATE, responseModel: null } as const;
export const CALL = { model: 'glm-5.2', estimate: ESTIMATE };
export const never = new AbortController().signal;

const open: AsyncDisposable[] = [];
export async function closeDesks(): Promise<void> {
  for (const each of open.splice(0)) await each[Symbol.asyncDispose]();
}

export function deskWith(snapshot: SidecarSnapshot | null = snapshotOf()) {
  const clock = new ManualClock();
  const engine = new ScriptedEngine();
  const snapshots = createCell(snapshot);
  const closed: string[] = [];
  /** Trees whose Redis cannot be used. */
  const failToOpen = new Set<string>();
  const { metrics, registry } = metricsForTest();
  const desk = createLeaseDesk({
    snapshots,
    openEngine: ({ binding }) => {
      if (failToOpen.has(binding.treeKey)) throw new Error('no such Redis');
      return engine.opened(() => closed.push(binding.treeKey));
    },
    processId: 'pod-1',
    clock,
    log: quiet,
    metrics,
  });
  open.push(desk);
  return { clock, engine, snapshots, desk, closed, failToOpen, registry };
}

/** A quota whose calls wait up to a minute. */
export const PATIENT = { waiting: { mode: 'UntilWindow', maxWaitMs: 60_000 } } as const;

/** Asks for so many leases; those that are granted are collected. */
export function admitMany(desk: ReturnType<typeof deskWith>['desk'], count: number): HeldLease[] {
  const leases: HeldLease[] = [];
  for (let calls = 0; calls < count; calls++) {
    admitted(desk).then(
      (lease) => leases.push(lease),
      () => undefined,
    );
  }
  return leases;
}

export async function admitted(desk: ReturnType<typeof deskWith>['desk']): Promise<HeldLease> {
  const admission = await desk.admit(CALL, never);
  if (admission.kind !== 'admitted') throw new Error(`not admitted: ${JSON.stringify(admission)}`);
  return admission.lease;
}
