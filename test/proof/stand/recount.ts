/** Anchored windows counted anew from the vendor's book, in every way in which a vendor might count. Pure. */
import type { Interval } from './oracle.ts';

export interface Counting {
  /** A window opens with the first call's arrival or with its end. */
  readonly opens: 'Start' | 'End';
  /** A call counts in the window that is open at its start (else in the one it opens), or at its end. */
  readonly charges: 'Start' | 'End';
}

export const COUNTINGS: readonly Counting[] = [
  { opens: 'Start', charges: 'Start' },
  { opens: 'Start', charges: 'End' },
  { opens: 'End', charges: 'Start' },
  { opens: 'End', charges: 'End' },
];

export interface Span {
  readonly openedMs: number;
  readonly used: number;
}

export function recount(calls: readonly Interval[], durationMs: number, { opens, charges }: Counting): readonly Span[] {
  const spans: { openedMs: number; used: number }[] = [];
  const charged = new Set<Interval>();
  const moments = calls.flatMap((call) => [
    { atMs: call.startMs, at: 'Start' as const, call },
    { atMs: call.endMs, at: 'End' as const, call },
  ]);
  moments.sort((a, b) => a.atMs - b.atMs);
  for (const { atMs, at, call } of moments) {
    const last = spans.at(-1);
    let open = last !== undefined && atMs < last.openedMs + durationMs ? last : null;
    const isLast = at === 'End' && !charged.has(call);
    if (open === null && (at === opens || isLast)) spans.push((open = { openedMs: atMs, used: 0 }));
    if (open === null || charged.has(call) || (at !== charges && !isLast)) continue;
    open.used += 1;
    charged.add(call);
  }
  return spans;
}

/** Calls that began in one window and ended in another. */
export function straddling(calls: readonly Interval[], durationMs: number): number {
  const resets = recount(calls, durationMs, { opens: 'Start', charges: 'Start' }).map(
    (span) => span.openedMs + durationMs,
  );
  return calls.filter(({ startMs, endMs }) => resets.some((atMs) => startMs < atMs && atMs < endMs)).length;
}
