import { createRegistry } from '#sidecar/base/metrics.ts';
import { createLog } from '#sidecar/base/log.ts';
import type { Clock } from '#sidecar/base/clock.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import type { BeatReply } from '#sidecar/engine/port.ts';
import type { AcquireRequest, Grant, Settlement, SettleReply, Verdict } from '#sidecar/engine/terms.ts';
import type { LeaseEngine, OpenEngine } from '#sidecar/leases/metered-engine.ts';
import { createSidecarMetrics } from '#sidecar/leases/metrics.ts';
import { AppError } from '#sidecar/base/errors.ts';

/** A clock that stands until the test moves it. Sleepers wake in order of their times. */
export class ManualClock implements Clock {
  wallMs = 1_800_000_000_000;
  monoMs = 1000;
  readonly #sleepers = new Set<{ atMs: number; wake: () => void }>();

  nowMs(): number {
    return this.wallMs;
  }

  monotonicMs(): number {
    return this.monoMs;
  }

  get sleeping(): number {
    return this.#sleepers.size;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const sleeper = { atMs: this.monoMs + ms, wake: resolve };
    this.#sleepers.add(sleeper);
    const onAbort = (): void => reject(signal?.reason as Error);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
    } finally {
      this.#sleepers.delete(sleeper);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async advance(ms: number): Promise<void> {
    const untilMs = this.monoMs + ms;
    for (;;) {
      await settled();
      const next = [...this.#sleepers].filter(({ atMs }) => atMs <= untilMs).toSorted((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#move(Math.max(next.atMs, this.monoMs));
      this.#sleepers.delete(next);
      next.wake();
    }
    this.#move(untilMs);
    await settled();
  }

  #move(toMs: number): void {
    this.wallMs += toMs - this.monoMs;
    this.monoMs = toMs;
  }
}

/** Lets everything run that does not wait for time. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

export const quiet = createLog('silent');

export function metricsForTest() {
  const registry = createRegistry();
  return { registry, metrics: createSidecarMetrics(registry) };
}

/** An engine that answers as told and notes what it was asked; by default it grants and keeps everything. */
export class ScriptedEngine implements LeaseEngine {
  readonly asked: AcquireRequest[] = [];
  readonly settled: Settlement[] = [];
  readonly settleCalls: number[] = [];
  readonly cancelled: string[] = [];
  readonly registered: Parameters<LeaseEngine['register']>[0][] = [];
  beats = 0;
  claims = 0;
  epoch = 1;
  down = false;
  serverNowMs = 5_000_000;
  fence = 0;
  onAcquire: (request: AcquireRequest) => Verdict | Promise<Verdict> = (request) => this.grant(request.id);
  onBeat: () => BeatReply | Promise<BeatReply> = () => ({
    kind: 'alive',
    epoch: this.epoch,
    serverNowMs: this.serverNowMs,
    lost: [],
  });
  onSettle: (settlement: Settlement) => SettleReply = () => ({ kind: 'settled', late: false, overdraft: false });
  onClaim: () => boolean = () => true;

  grant(id: string): Grant {
    const at = this.serverNowMs;
    const fence = ++this.fence;
    return { kind: 'granted', id, fence, epoch: this.epoch, grantedAtMs: at, serverNowMs: at, ttlMs: 15_000 };
  }

  async acquire(request: AcquireRequest): Promise<Verdict> {
    this.asked.push(request);
    this.#check();
    return this.onAcquire(request);
  }

  async claim(): Promise<boolean> {
    this.claims++;
    this.#check();
    return this.onClaim();
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleReply[]> {
    this.#check();
    this.settleCalls.push(settlements.length);
    this.settled.push(...settlements);
    return settlements.map((each) => this.onSettle(each));
  }

  async cancel(id: string): Promise<void> {
    this.#check();
    this.cancelled.push(id);
  }

  async beat(): Promise<BeatReply> {
    this.beats++;
    this.#check();
    return this.onBeat();
  }

  async register(request: Parameters<LeaseEngine['register']>[0]): Promise<{ epoch: number }> {
    this.#check();
    this.registered.push(request);
    return { epoch: this.epoch };
  }

  reconnects = 0;

  /** As a connection that stands at once. */
  opened(onClose: () => void = () => undefined): OpenEngine {
    return {
      engine: this,
      ready: async () => undefined,
      reconnect: async () => void this.reconnects++,
      [Symbol.asyncDispose]: async () => onClose(),
    };
  }

  async snapshot(): Promise<null> {
    this.#check();
    return null;
  }

  #check(): void {
    if (this.down) throw new AppError('unavailable', 'Redis is away');
  }
}

export function snapshotOf(change: Partial<SidecarSnapshot['binding']> = {}, generation = 7): SidecarSnapshot {
  return {
    revision: { leaseCreatedMs: 1, transitions: 0, generation },
    binding: {
      treeKey: 'tree',
      quota: 'team/a',
      leaf: 'quota:team/a',
      path: ['quota:team/a', 'account'],
      currency: 'USD',
      perAgentConcurrency: null,
      maxRuntimeMs: 3_600_000,
      ...change,
    },
    catalog: {
      models: [{ name: 'glm-5.3', aliases: ['glm-5.2'], suffixes: ['[1m]'] }],
      prices: [
        {
          model: 'glm-5.3',
          currency: 'USD',
          tiers: [
            { upToInputTokens: null, inputNano: 1_400_000_000, cachedNano: 260_000_000, outputNano: 4_400_000_000 },
          ],
        },
      ],
      credits: [],
      schedule: {
        timeZone: 'Asia/Shanghai',
        peak: [],
        peakFactorPpm: 1_000_000,
        offPeakFactorPpm: 500_000,
        promotions: [],
      },
      errors: [],
    },
    upstream: { origin: 'http://127.0.0.1:1', billing: 'CodingPlan', apiKey: 'secret-key', caPem: null },
    redis: { url: 'redis://127.0.0.1:1', username: null, password: null, caPem: null },
  };
}
