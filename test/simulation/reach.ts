/** When faults kept a sidecar from being heard by Redis: what excuses calls that run although Redis let their leases go. */
import type { Schedule } from './schedule.ts';

/** A holder that was kept away for less of a lifetime keeps its leases. */
const HARMLESS_MS = 4000;

export class Reach {
  readonly #schedule: Schedule;
  readonly #over: { readonly fromMs: number; readonly toMs: number }[] = [];
  #since: number | null = null;
  #reasons = 0;

  constructor(schedule: Schedule) {
    this.#schedule = schedule;
  }

  /** Kept away from now on, for one reason more. */
  block(): void {
    this.#reasons += 1;
    this.#since ??= this.#schedule.nowMs;
  }

  unblock(): void {
    this.#reasons -= 1;
    if (this.#reasons > 0 || this.#since === null) return;
    this.#over.push({ fromMs: this.#since, toMs: this.#schedule.nowMs });
    this.#since = null;
  }

  get isBlocked(): boolean {
    return this.#since !== null;
  }

  /** Whether it was kept away long enough since then for Redis to have let its leases go. */
  mayBeLost(fromMs: number): boolean {
    return this.blockedSince(fromMs) >= HARMLESS_MS;
  }

  /** How long of the stretch from then until now it was kept away. */
  blockedSince(fromMs: number): number {
    const { nowMs } = this.#schedule;
    const open = this.#since === null ? [] : [{ fromMs: this.#since, toMs: nowMs }];
    const overlap = (each: { readonly fromMs: number; readonly toMs: number }): number =>
      Math.max(0, each.toMs - Math.max(fromMs, each.fromMs));
    return [...this.#over, ...open].reduce((sum, each) => sum + overlap(each), 0);
  }
}
