/** Whether Redis answers, and since when it does not. */
import type { Clock } from '../base/clock.ts';
import { jitter } from '../base/ids.ts';
import type { StoreListener } from './metered-engine.ts';
import type { Patience } from './patience.ts';

export interface StoreWatchOptions {
  readonly clock: Clock;
  /** Asks Redis something small, if need be on a fresh connection; fails when it does not answer. */
  readonly probe: (signal: AbortSignal) => Promise<unknown>;
  /** Told once Redis answers again. */
  readonly onBack: (downForMs: number) => void;
}

/** While calls wait for Redis it is asked this often, by one of them for all. */
const PROBE_MS = 250;

export class StoreWatch implements StoreListener, Disposable {
  readonly #options: StoreWatchOptions;
  readonly #stop = new AbortController();
  #downSinceMs: number | null = null;
  #change = Promise.withResolvers<void>();
  #watchers = 0;
  #isProbing = false;

  constructor(options: StoreWatchOptions) {
    this.#options = options;
  }

  /** Null: it answered when it was last asked. */
  get downForMs(): number | null {
    return this.#downSinceMs === null ? null : this.#options.clock.monotonicMs() - this.#downSinceMs;
  }

  answered(): void {
    const { downForMs } = this;
    if (downForMs === null) return;
    this.#downSinceMs = null;
    this.tell();
    this.#options.onBack(downForMs);
  }

  away(): void {
    this.#downSinceMs ??= this.#options.clock.monotonicMs();
  }

  /** Wakes everybody who waits for a change. */
  tell(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers<void>();
  }

  /** Resolves when Redis is back, something else has changed, or after `ms`; rejects as `Patience.wait` does. */
  async change(patience: Patience, ms: number): Promise<void> {
    this.#watchers += 1;
    try {
      void this.#probe();
      await patience.waitAtMost(this.#change.promise, ms);
    } finally {
      this.#watchers -= 1;
    }
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }

  async #probe(): Promise<void> {
    if (this.#isProbing) return;
    this.#isProbing = true;
    const { clock, probe } = this.#options;
    const { signal } = this.#stop;
    while (this.#watchers > 0 && this.#downSinceMs !== null && !signal.aborted) {
      await clock.sleep(PROBE_MS * (0.75 + jitter() / 2), signal).catch(() => undefined);
      if (!signal.aborted) await probe(signal).catch(() => undefined);
    }
    this.#isProbing = false;
  }
}
