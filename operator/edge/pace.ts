/** At most so many calls a second, a few at once. */
import type { Clock } from '../../sidecar/base/clock.ts';
import { AppError } from '../../sidecar/base/errors.ts';

export interface PaceOptions {
  readonly perSecond: number;
  readonly burst: number;
  /** Whoever would wait longer is refused at once. */
  readonly maxWaitMs: number;
  readonly what: string;
}

/** GCRA: `#freeAtMs` is when the calls so far would have been done one after another. */
export class Pace {
  readonly #clock: Clock;
  readonly #options: PaceOptions;
  #freeAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, options: PaceOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  /** Resolves when the call may go; fails with `exhausted` when that is too far away. */
  async take(signal: AbortSignal): Promise<void> {
    const { perSecond, burst, maxWaitMs, what } = this.#options;
    const stepMs = 1000 / perSecond;
    const nowMs = this.#clock.monotonicMs();
    const freeAtMs = Math.max(this.#freeAtMs, nowMs);
    const waitMs = Math.max(0, freeAtMs - (burst - 1) * stepMs - nowMs);
    if (waitMs > maxWaitMs) throw new AppError('exhausted', `too many ${what}: try again later`);
    this.#freeAtMs = freeAtMs + stepMs;
    if (waitMs > 0) await this.#clock.sleep(waitMs, signal);
  }
}
