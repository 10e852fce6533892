/** Pods without their proxy: the sidecar's own lease layer, each with a connection and a queue of pushes of its own. */
import { setTimeout as delay } from 'node:timers/promises';
import { createCell } from '#sidecar/base/cell.ts';
import { systemClock } from '#sidecar/base/clock.ts';
import { createLog } from '#sidecar/base/log.ts';
import { createRegistry } from '#sidecar/base/metrics.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import { createSidecarEngine } from '#sidecar/engine/client.ts';
import { connectRedis } from '#sidecar/engine/connect.ts';
import type { SidecarEngine } from '#sidecar/engine/port.ts';
import { createLeaseDesk } from '#sidecar/leases/desk.ts';
import type { OpenEngine } from '#sidecar/leases/metered-engine.ts';
import { createSidecarMetrics } from '#sidecar/leases/metrics.ts';
import type { HeldLease } from '#sidecar/leases/terms.ts';
import { MODEL } from '../world.ts';

export interface Pod extends AsyncDisposable {
  /** Waits for a lease and starts it. */
  lease(): Promise<HeldLease>;
  /** Does the work when it is this call's turn. */
  run(work: () => Promise<void>): Promise<void>;
}

/** Moments in the life of a slot, as a pod's connection sees them. */
export interface SlotEvents {
  /** A settlement is about to be sent. */
  freed(): void;
  /** A grant out of the queue has arrived. */
  told(): void;
}

const ESTIMATE = { inputTokens: 300, cachedTokens: 0, outputTokens: 1024 };
const CONNECTED_MS = 20_000;
/** As long as it is open nobody interrupts it. */
const never = new AbortController().signal;
const metrics = createSidecarMetrics(createRegistry());
const log = createLog('error');

export async function openPod(snapshot: SidecarSnapshot, name: string, events?: SlotEvents): Promise<Pod> {
  const desk = createLeaseDesk({
    snapshots: createCell<SidecarSnapshot | null>(snapshot),
    openEngine: (bound) => connectEngine(bound, events),
    processId: name,
    clock: systemClock,
    log,
    metrics,
  });
  await desk.prepare(AbortSignal.timeout(CONNECTED_MS));
  const lease = async (): Promise<HeldLease> => {
    const admission = await desk.admit({ model: MODEL, estimate: ESTIMATE }, never);
    if (admission.kind !== 'admitted') throw new Error(`a call of ${name} was answered ${JSON.stringify(admission)}`);
    if (!(await admission.lease.start(never))) throw new Error(`${name} lost a lease before it was used`);
    return admission.lease;
  };
  return {
    lease,
    run: async (work) => {
      const held = await lease();
      held.noteFirstByte();
      await work();
      await held.settle({ outcome: 'completed', usage: ESTIMATE, responseModel: null });
    },
    [Symbol.asyncDispose]: () => desk[Symbol.asyncDispose](),
  };
}

/** Opens many, a few at a time: nobody measures how fast connections come. */
export async function openPods(
  count: number,
  open: (index: number) => Promise<Pod>,
  stack: AsyncDisposableStack,
): Promise<readonly Pod[]> {
  const pods: Pod[] = [];
  for (let index = 0; index < count; index += 1) pods.push(stack.use(await open(index)));
  await delay(100);
  return pods;
}

function connectEngine({ binding, redis }: SidecarSnapshot, events: SlotEvents | undefined): OpenEngine {
  const onError = (error: Error): void => console.error(error.message);
  const connection = connectRedis(redis, { name: 'glmquota-bench-pod', onError });
  const engine = createSidecarEngine({
    redis: connection.redis,
    treeKey: binding.treeKey,
    subscribe: (channel, subscriber, signal) => connection.subscribe(channel, subscriber, signal),
  });
  return {
    engine: events === undefined ? engine : watched(engine, events),
    ready: (signal) => connection.ready(signal),
    reconnect: (signal) => connection.reconnect(signal),
    authenticate: (password) => connection.authenticate(password),
    [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose](),
  };
}

function watched(engine: SidecarEngine, events: SlotEvents): SidecarEngine {
  return {
    ...engine,
    settle: (settlements, signal) => {
      for (const _ of settlements) events.freed();
      return engine.settle(settlements, signal);
    },
    async *notices(owner, signal, opened) {
      for await (const notice of engine.notices(owner, signal, opened)) {
        if (notice.kind === 'granted') events.told();
        yield notice;
      }
    },
  };
}
