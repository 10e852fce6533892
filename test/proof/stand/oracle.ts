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

export interface WindowUse {
  readonly opensMs: number;
  readonly calls: number;
}

/**
 * Windows of the vendor's kind over calls it took: each opens with the first of them that begins (`Arrival`) or ends
 * (`End`) when none is open, and lasts `durationMs`. A call belongs to the window in which it counts.
 */
export function windowsOf(
  accepted: readonly Interval[],
  durationMs: number,
  countedAt: 'Arrival' | 'End',
): readonly WindowUse[] {
  const moments = accepted.map(({ startMs, endMs }) => (countedAt === 'Arrival' ? startMs : endMs));
  const windows: { opensMs: number; calls: number }[] = [];
  for (const atMs of moments.toSorted((a, b) => a - b)) {
    const last = windows.at(-1);
    if (last === undefined || atMs >= last.opensMs + durationMs) windows.push({ opensMs: atMs, calls: 1 });
    else last.calls += 1;
  }
  return windows;
}
