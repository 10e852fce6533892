import { createRegistry } from '#sidecar/base/metrics.ts';
import { createLog } from '#sidecar/base/log.ts';
import type { Clock } from '#sidecar/base/clock.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import { createSidecarMetrics } from '#sidecar/leases/metrics.ts';

/** A clock that stands until the test moves it. Sleepers wake in order of their times. */
export class ManualClock implements Clock {
  wallMs = 1_800_000_000_000;
  monoMs = 1000;
  /** Timers that were ever set. */
  sleeps = 0;
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
    this.sleeps++;
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

/** Calls are decided at once, and never repeated, unless a test says otherwise. */
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
      waiting: { mode: 'Reject', maxWaitMs: 0 },
      class: { default: 'Normal', max: 'High' },
      attributes: {},
      drained: false,
      durability: 'Async',
      onStoreFailure: { policy: 'Closed', localSharePercent: 50, maxDurationMs: 300_000 },
      retry: { maxAttempts: 4, baseDelayMs: 1000, factorPermille: 2000, maxDelayMs: 30_000 },
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
