/** The moment of a compilation: what depends on time is made here, and it is remembered when the first of it is stale. */
import type { WindowSpec } from '../api/v1alpha1/limits.ts';
import type { Window } from '../../sidecar/engine/tree-terms.ts';
import type { Calendar } from './calendar.ts';
import type { Stretch, WeeklyHours } from './stretches.ts';

export class Moment {
  readonly nowMs: number;
  readonly #calendar: Calendar;
  #staleAtMs: number | null = null;

  constructor(calendar: Calendar, nowMs: number) {
    this.#calendar = calendar;
    this.nowMs = nowMs;
  }

  /** When compiling again gives something else; null: never. */
  get staleAtMs(): number | null {
    return this.#staleAtMs;
  }

  window(spec: WindowSpec): Window {
    if (spec.type !== 'Calendar') return spec;
    const { period, timeZone } = spec;
    const { boundariesMs, staleAtMs } = this.#calendar.boundaries(period, timeZone, this.nowMs);
    this.#note(staleAtMs);
    return { type: 'Calendar', period, timeZone, boundariesMs };
  }

  /** When it is between these hours: the running stretch and about `wanted` next ones. */
  stretches(hours: WeeklyHours, wanted: number): readonly Stretch[] {
    const { stretches, staleAtMs } = this.#calendar.stretches(hours, wanted, this.nowMs);
    this.#note(staleAtMs);
    return stretches;
  }

  /** Whether this time is still to come. What follows from it is compiled again once it has come. */
  isAhead(ms: number): boolean {
    if (ms <= this.nowMs) return false;
    this.#note(ms);
    return true;
  }

  #note(staleAtMs: number): void {
    if (staleAtMs !== Number.POSITIVE_INFINITY) this.#staleAtMs = Math.min(staleAtMs, this.#staleAtMs ?? staleAtMs);
  }
}
