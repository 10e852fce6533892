/** What the vendor's book says, counted anew from its single calls. Pure. */
import type { CallRecord } from '#test/support/glm-simulator/ledger.ts';

/** A call from its headers received to its response ended or its socket closed; monotonic ms of the vendor. */
export type Interval = Pick<CallRecord, 'startMs' | 'endMs'>;

/** From `atMs` on, so many at once. */
export interface Step {
  readonly atMs: number;
  readonly count: number;
}

/** Calls at once over time. One that ends at the very moment another begins was over by then. */
export function sweep(intervals: readonly Interval[]): readonly Step[] {
  const changes = intervals.flatMap(({ startMs, endMs }) => [
    { atMs: startMs, by: 1 },
    { atMs: endMs, by: -1 },
  ]);
  changes.sort((a, b) => a.atMs - b.atMs || a.by - b.by);
  let count = 0;
  return changes.map(({ atMs, by }) => ({ atMs, count: (count += by) }));
}

/** Most at once within [fromMs, untilMs). */
export function peak(steps: readonly Step[], fromMs = -Infinity, untilMs = Infinity): number {
  let most = 0;
  let before = 0;
  for (const { atMs, count } of steps) {
    if (atMs >= untilMs) break;
    if (atMs < fromMs) before = count;
    else most = Math.max(most, count);
  }
  return Math.max(most, before);
}

/** At this moment. */
export function countAt(steps: readonly Step[], atMs: number): number {
  return steps.findLast((step) => step.atMs <= atMs)?.count ?? 0;
}

/** The first moment from `fromMs` on at which so many are there; null: never. */
export function firstReaching(steps: readonly Step[], count: number, fromMs: number): number | null {
  if (countAt(steps, fromMs) >= count) return fromMs;
  return steps.find((step) => step.atMs >= fromMs && step.count >= count)?.atMs ?? null;
}

/** When the first call after that moment began; Infinity: none did. */
export function firstStart(calls: readonly Interval[], afterMs: number): number {
  return Math.min(...calls.map(({ startMs }) => startMs).filter((startMs) => startMs > afterMs));
}
