/** Reference model: a limit on calls in flight that learns (ceiling-AIMD, one probe at a time). Pure. */
import type { Now } from './model-meters.ts';
import type { Outcome } from './terms.ts';
import type { NodeConfig } from './tree-terms.ts';

const PROBE_MS = 30_000;
const FAST_PROBE_MS = 1000;
const MAX_PROBE_MS = 600_000;

export interface Adaptive {
  /** The limit in force. */
  limit: number;
  changedMs: number;
  /** How long it must be full before one call more is tried. */
  pauseMs: number;
  fullSinceMs: number | null;
  /** Id of the lease that is one more than the limit. */
  probe: string | null;
  decreasedMs: number;
  /** What was last known to work, by hour of the day. */
  readonly known: Map<number, number>;
  hour: number;
}

const hourOf = ({ wallMs }: Now): number => Math.floor(wallMs / 3_600_000) % 24;

/** The least and the most of an adaptive node, null for any other. */
export function boundsOf({ adaptive, concurrency }: NodeConfig): { min: number; max: number; start: number } | null {
  if (!adaptive || concurrency === null) return null;
  const start = Math.max(adaptive.min, Math.min(adaptive.start, concurrency));
  return { min: adaptive.min, max: concurrency, start };
}

export function newAdaptive(start: number, now: Now): Adaptive {
  return {
    limit: start,
    changedMs: now.logicalMs,
    pauseMs: PROBE_MS,
    fullSinceMs: null,
    probe: null,
    decreasedMs: -Infinity,
    known: new Map(),
    hour: hourOf(now),
  };
}

/** A new hour: what it is known to hold may be less, or more and then is reached fast. */
export function rollHour(state: Adaptive, min: number, now: Now): void {
  const hour = hourOf(now);
  if (state.hour === hour) return;
  state.hour = hour;
  const known = state.known.get(hour);
  if (known === undefined) return;
  if (known < state.limit) Object.assign(state, { limit: Math.max(min, known), changedMs: now.logicalMs });
  else if (known > state.limit) state.pauseMs = FAST_PROBE_MS;
}

/** Null: one call more fits. Else when to look again, as far as that can be told. */
export function checkAdaptive(
  state: Adaptive,
  inFlight: number,
  max: number,
  { logicalMs }: Now,
): { readonly timerMs: number | null } | null {
  if (inFlight < state.limit) return null;
  const mayProbe = inFlight === state.limit && state.probe === null && state.limit < max;
  const dueMs = Math.max(state.fullSinceMs ?? logicalMs, state.changedMs) + state.pauseMs;
  if (mayProbe && state.fullSinceMs !== null && logicalMs >= dueMs) return null;
  state.fullSinceMs ??= logicalMs;
  return { timerMs: mayProbe ? dueMs : null };
}

/** `inFlight`: before this call. */
export function takeAdaptive(state: Adaptive, id: string, inFlight: number): void {
  if (inFlight >= state.limit) state.probe ??= id;
  else if (inFlight + 1 < state.limit) state.fullSinceMs = null;
}

/** The probe's own call ended; outcome null: it expired. */
export function endProbe(
  state: Adaptive,
  { outcome, answered }: { readonly outcome: Outcome | null; readonly answered: boolean },
  max: number,
  now: Now,
): void {
  state.probe = null;
  state.changedMs = now.logicalMs;
  if ((outcome === 'completed' || outcome === 'brokeMidStream') && answered) {
    state.limit = Math.min(max, state.limit + 1);
    const known = Math.max(state.known.get(hourOf(now)) ?? 0, state.limit);
    state.known.set(hourOf(now), known);
    state.pauseMs = known > state.limit ? FAST_PROBE_MS : PROBE_MS;
    state.fullSinceMs = null;
  } else if (outcome === 'refusedConcurrency') {
    state.pauseMs = Math.min(2 * state.pauseMs, MAX_PROBE_MS);
  }
}

/** The vendor refused one of `atVendor` calls. */
export function decrease(state: Adaptive, atVendor: number, min: number, now: Now): void {
  state.limit = Math.max(min, Math.min(state.limit, atVendor - 1));
  state.known.set(hourOf(now), state.limit);
  const { logicalMs } = now;
  Object.assign(state, { pauseMs: PROBE_MS, changedMs: logicalMs, decreasedMs: logicalMs, fullSinceMs: null });
  state.probe = null;
}
