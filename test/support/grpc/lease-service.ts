/** LeaseService on a real socket over the real lease desk, with a clock and a Redis the test moves. */
import { onTestFinished } from 'vitest';
import { LeaseService, type RenewResponse } from '#proto/glmquota/v1/lease_pb.ts';
import { createCell } from '#sidecar/base/cell.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import type { TreeSnapshot } from '#sidecar/engine/terms.ts';
import { LeaseBook } from '#sidecar/grpc/lease-book.ts';
import { leaseService } from '#sidecar/grpc/lease-service.ts';
import { createLeaseDesk } from '#sidecar/leases/desk.ts';
import type { LeaseDesk } from '#sidecar/leases/terms.ts';
import type { RpcClient } from '#sidecar/rpc/handlers.ts';
import { serve } from '#test/support/rpc/serving.ts';
import { ManualClock, metricsForTest, quiet, snapshotOf } from '#test/unit/leases/fixtures.ts';
import { ScriptedEngine } from '#test/unit/leases/scripted-engine.ts';

export interface Service {
  readonly client: RpcClient<typeof LeaseService>;
  readonly engine: ScriptedEngine;
  readonly clock: ManualClock;
  readonly desk: LeaseDesk;
  /** Those the desk was called with. */
  readonly signals: readonly AbortSignal[];
}

/** LeaseService on a socket, over the real desk; time and Redis' answers are the test's. */
export async function service(
  snapshot: SidecarSnapshot | null = snapshotOf(),
  tree: TreeSnapshot | null = null,
): Promise<Service> {
  const engine = new ScriptedEngine();
  const clock = new ManualClock();
  const desk = createLeaseDesk({
    snapshots: createCell<SidecarSnapshot | null>(snapshot),
    openEngine: () => engine.opened(),
    processId: 'pod',
    clock,
    log: quiet,
    metrics: metricsForTest().metrics,
  });
  const signals: AbortSignal[] = [];
  const watched: LeaseDesk = {
    admit: (call, signal) => {
      signals.push(signal);
      return desk.admit(call, signal);
    },
    drain: (signal) => desk.drain(signal),
    waiting: () => desk.waiting(),
    get inFlight() {
      return desk.inFlight;
    },
  };
  const book = new LeaseBook({ clock, log: quiet });
  const status = { binding: () => snapshot?.binding ?? null, snapshot: async () => tree };
  const { client } = await serve(LeaseService, leaseService({ desk: watched, book, status }));
  onTestFinished(async () => {
    book[Symbol.dispose]();
    await desk[Symbol.asyncDispose]();
  });
  return { client, engine, clock, desk, signals };
}

export const WORK = { model: 'glm-5.3', estimate: { inputTokens: 100n, outputTokens: 50n } };

export async function acquire(client: RpcClient<typeof LeaseService>, id = ''): Promise<string> {
  const { verdict } = await client.acquire({ ...WORK, id });
  if (verdict.case !== 'granted') throw new Error(`not granted: ${verdict.case}`);
  return verdict.value.id;
}

/** A Renew stream in the test's hands. */
export function renewing(client: RpcClient<typeof LeaseService>) {
  const requests: { id: string }[] = [];
  let wake = Promise.withResolvers<void>();
  let open = true;
  async function* outgoing(): AsyncGenerator<{ id: string }> {
    while (open || requests.length > 0) {
      const next = requests.shift();
      if (next) yield next;
      else await wake.promise;
      wake = Promise.withResolvers();
    }
  }
  const answers = client.renew(outgoing())[Symbol.asyncIterator]();
  return {
    send: (id: string) => {
      requests.push({ id });
      wake.resolve();
    },
    next: async () => {
      const { value } = (await answers.next()) as { value: RenewResponse };
      return [value.id, value.alive];
    },
    end: async () => {
      open = false;
      wake.resolve();
      while ((await answers.next()).done !== true);
    },
    leave: async () => {
      await answers.return?.();
    },
  };
}
