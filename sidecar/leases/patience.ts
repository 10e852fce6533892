/** How long one call is willing to wait, and who may end its wait. */
import { orAbort } from '../base/abort.ts';
import type { Clock } from '../base/clock.ts';
import type { WaitPolicy } from '../engine/terms.ts';

export interface PatienceOptions {
  readonly clock: Clock;
  readonly wait: WaitPolicy;
  /** Aborts when the caller goes away. */
  readonly signal: AbortSignal;
  /** Aborts when this process ends. */
  readonly leaving: AbortSignal;
  /** Told when the call begins to wait. */
  readonly onWait: () => void;
}

export class Patience {
  readonly mode: WaitPolicy['mode'];
  /** Monotonic. */
  readonly untilMs: number;
  readonly #options: PatienceOptions;
  /** Made when it is first needed: most calls never wait. */
  #signal: AbortSignal | null = null;
  #hasWaited = false;
  /** Monotonic; null: it does not wait. */
  #sinceMs: number | null = null;

  constructor(options: PatienceOptions) {
    const { clock, wait } = options;
    this.#options = options;
    this.mode = wait.mode;
    this.untilMs = clock.monotonicMs() + wait.maxWaitMs;
  }

  get remainingMs(): number {
    return Math.max(0, Math.floor(this.untilMs - this.#options.clock.monotonicMs()));
  }

  /** The caller went away, or this process ends. */
  get isOver(): boolean {
    return this.#options.signal.aborted || this.#options.leaving.aborted;
  }

  get callerLeft(): boolean {
    return this.#options.signal.aborted;
  }

  /** Once or more. */
  get hasWaited(): boolean {
    return this.#hasWaited;
  }

  /** Aborts when the caller goes away or this process ends. */
  get signal(): AbortSignal {
    this.#signal ??= AbortSignal.any([this.#options.signal, this.#options.leaving]);
    return this.#signal;
  }

  throwIfOver(): void {
    this.#options.signal.throwIfAborted();
    this.#options.leaving.throwIfAborted();
  }

  /** To be called when the call waits no more. How long it did; null: not since the last time. */
  endWait(): number | null {
    const sinceMs = this.#sinceMs;
    this.#sinceMs = null;
    return sinceMs === null ? null : this.#options.clock.monotonicMs() - sinceMs;
  }

  /**
   * The promise's outcome; null when the time is over, `slackMs` later. Rejects with the reason when the caller goes away
   * or this process ends.
   */
  async wait<T>(promise: Promise<T>, slackMs = 0): Promise<T | null> {
    return this.#race(promise, this.remainingMs + slackMs);
  }

  /** As `wait`, but null after `ms` if that is earlier. */
  async waitAtMost<T>(promise: Promise<T>, ms: number): Promise<T | null> {
    return this.#race(promise, Math.min(ms, this.remainingMs));
  }

  async #race<T>(promise: Promise<T>, ms: number): Promise<T | null> {
    this.#begin();
    const done = new AbortController();
    const timer = this.#options.clock.sleep(ms, done.signal).then(
      () => null,
      () => null,
    );
    try {
      return await orAbort(Promise.race([promise, timer]), this.signal);
    } finally {
      done.abort();
    }
  }

  #begin(): void {
    if (this.#sinceMs !== null) return;
    this.#hasWaited = true;
    this.#sinceMs = this.#options.clock.monotonicMs();
    this.#options.onWait();
  }
}
