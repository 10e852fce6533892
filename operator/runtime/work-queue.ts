/**
 * Keys to work on. A key waits at most once, is worked on by one worker at a time, and one that is added while it is
 * being worked on comes again afterwards: no change is lost and none is worked on twice at once.
 */
import type { Clock } from '../../sidecar/base/clock.ts';
import type { RuntimeMetrics } from './metrics.ts';
import { DelayHeap } from './delay-heap.ts';

export interface QueueLimits {
  /** Delay after the first failure of a key; doubles with each further one. */
  readonly firstDelayMs: number;
  readonly mostDelayMs: number;
  /** Retries of all keys together: `perSecond` on average, `burst` at once. */
  readonly perSecond: number;
  readonly burst: number;
}

export const QUEUE_LIMITS: QueueLimits = { firstDelayMs: 5, mostDelayMs: 1_000_000, perSecond: 10, burst: 100 };

export interface QueueOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly metrics?: RuntimeMetrics;
  readonly limits?: Partial<QueueLimits>;
}

export class WorkQueue {
  readonly #name: string;
  readonly #clock: Clock;
  readonly #metrics: RuntimeMetrics | undefined;
  readonly #limits: QueueLimits;
  /** Keys that wait for a worker, in order, with the time they were added. */
  readonly #waiting = new Map<string, number>();
  /** Keys being worked on, since when. */
  readonly #processing = new Map<string, number>();
  /** Keys added again while they were being worked on. */
  readonly #again = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #delayed = new DelayHeap();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  #timer = new AbortController();
  #timerDueMs = Number.POSITIVE_INFINITY;
  #idle = Promise.withResolvers<void>();
  #closed = false;
  #tokens: number;
  #tokensAtMs: number;

  constructor(options: QueueOptions) {
    this.#name = options.name;
    this.#clock = options.clock;
    this.#metrics = options.metrics;
    this.#limits = { ...QUEUE_LIMITS, ...options.limits };
    this.#tokens = this.#limits.burst;
    this.#tokensAtMs = options.clock.monotonicMs();
  }

  /** Keys waiting now; delayed ones do not count. */
  get depth(): number {
    return this.#waiting.size;
  }

  /** Failures in a row of the key. */
  failures(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  /** Work on the key soon. Forgotten when the queue is closed. */
  add(key: string): void {
    if (this.#closed) return;
    this.#delayed.remove(key);
    if (this.#processing.has(key)) {
      this.#again.add(key);
      return;
    }
    if (this.#waiting.has(key)) return;
    this.#metrics?.queueAdds.inc({ name: this.#name });
    this.#waiting.set(key, this.#clock.monotonicMs());
    this.#serve();
  }

  /** Work on the key after the delay, or earlier when something adds it; of two delays the shorter counts. */
  addAfter(key: string, delayMs: number): void {
    if (this.#closed) return;
    if (delayMs <= 0) {
      this.add(key);
      return;
    }
    if (this.#waiting.has(key)) return;
    this.#delayed.push(key, this.#clock.monotonicMs() + delayMs);
    this.#arm();
  }

  /** Work on the key after its back-off, no earlier than the bucket of all retries allows. */
  addRateLimited(key: string): void {
    const failures = this.failures(key);
    this.#failures.set(key, failures + 1);
    this.#metrics?.queueRetries.inc({ name: this.#name });
    const backoffMs = Math.min(this.#limits.mostDelayMs, this.#limits.firstDelayMs * 2 ** Math.min(failures, 40));
    this.addAfter(key, Math.max(backoffMs, this.#bucketDelayMs()));
  }

  /** The key succeeded: its next failure starts at the first delay. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** The next key, once there is one; undefined when the queue is closed. `done` must follow. */
  async take(): Promise<string | undefined> {
    if (this.#closed) return undefined;
    const taken = Promise.withResolvers<string | undefined>();
    this.#takers.push(taken.resolve);
    this.#serve();
    return taken.promise;
  }

  /** Ends work on a key that was taken. */
  done(key: string): void {
    const since = this.#processing.get(key);
    if (since === undefined) return;
    this.#processing.delete(key);
    this.#metrics?.queueWorkSeconds.observe({ name: this.#name }, (this.#clock.monotonicMs() - since) / 1000);
    if (this.#again.delete(key)) this.add(key);
    if (this.#processing.size === 0) this.#idle.resolve();
  }

  /** Hands out nothing more; what waits is dropped, as a level-based controller finds it again. */
  close(): void {
    this.#closed = true;
    this.#waiting.clear();
    this.#again.clear();
    this.#delayed.clear();
    this.#timer.abort();
    for (const taker of this.#takers.splice(0)) taker(undefined);
    this.#gauge();
  }

  /** Resolves once nothing is being worked on. Meant for after `close`. */
  async drained(): Promise<void> {
    if (this.#processing.size === 0) return;
    this.#idle = Promise.withResolvers<void>();
    await this.#idle.promise;
  }

  /** Brings the gauges that age by themselves up to date; call it when metrics are read. */
  observe(): void {
    const nowMs = this.#clock.monotonicMs();
    const ages = Array.from(this.#processing.values(), (since) => (nowMs - since) / 1000);
    const total = ages.reduce((sum, age) => sum + age, 0);
    this.#metrics?.queueUnfinishedSeconds.set({ name: this.#name }, total);
    this.#metrics?.queueLongestSeconds.set({ name: this.#name }, Math.max(0, ...ages));
  }

  #serve(): void {
    while (this.#takers.length > 0 && this.#waiting.size > 0) {
      const [key, addedMs] = this.#waiting.entries().next().value ?? ['', 0];
      const nowMs = this.#clock.monotonicMs();
      this.#waiting.delete(key);
      this.#processing.set(key, nowMs);
      this.#metrics?.queueWaitSeconds.observe({ name: this.#name }, (nowMs - addedMs) / 1000);
      this.#takers.shift()?.(key);
    }
    this.#gauge();
  }

  #gauge(): void {
    this.#metrics?.queueDepth.set({ name: this.#name }, this.#waiting.size);
  }

  #bucketDelayMs(): number {
    const nowMs = this.#clock.monotonicMs();
    const refilled = this.#tokens + ((nowMs - this.#tokensAtMs) / 1000) * this.#limits.perSecond;
    this.#tokens = Math.min(this.#limits.burst, refilled) - 1;
    this.#tokensAtMs = nowMs;
    return this.#tokens >= 0 ? 0 : (-this.#tokens / this.#limits.perSecond) * 1000;
  }

  /** One timer, for the earliest delayed key. */
  #arm(): void {
    const dueMs = this.#delayed.earliestMs;
    if (dueMs >= this.#timerDueMs) return;
    this.#timer.abort();
    const timer = new AbortController();
    this.#timer = timer;
    this.#timerDueMs = dueMs;
    this.#clock.sleep(Math.max(0, dueMs - this.#clock.monotonicMs()), timer.signal).then(
      () => {
        this.#timerDueMs = Number.POSITIVE_INFINITY;
        for (const key of this.#delayed.popDue(this.#clock.monotonicMs())) this.add(key);
        this.#arm();
      },
      () => undefined,
    );
  }
}
