/** What a lease is to the process that holds it, and the decisions about it. Pure: no clock, no I/O. */
import type { AcquireRequest, Grant, Settlement, Warning } from '../engine/terms.ts';

/** When the server's clock was last read: at local `askedAtMs` (before sending) it was not later than `serverNowMs`. */
export interface Sync {
  /** Monotonic. */
  readonly askedAtMs: number;
  /** Wall time of the same moment, to notice a machine that slept. */
  readonly askedWallMs: number;
  readonly serverNowMs: number;
  readonly epoch: number;
}

/** A granted lease. Local times are monotonic ms. */
export interface Lease {
  readonly request: AcquireRequest;
  readonly fence: number;
  readonly warnings: readonly Warning[];
  epoch: number;
  /** How long it lives from `extendedAtMs` on. */
  ttlMs: number;
  /** The grant happened between these two. */
  readonly askedAtMs: number;
  readonly answeredAtMs: number;
  /** Server time of the grant or of the last beat that found it alive. */
  extendedAtMs: number;
  sentAtMs: number | null;
  firstByteAtMs: number | null;
  /** Redis no longer counts it. What runs runs on and is put back; what has not started must not start. */
  lost: boolean;
  /** Started by this process itself while Redis was away, which has yet to hear of it. */
  isLocal: boolean;
}

/** No grant of Redis has this fence. */
const LOCAL_FENCE = 0;

export function leaseOf(request: AcquireRequest, grant: Grant, at: { askedMs: number; answeredMs: number }): Lease {
  return {
    request,
    fence: grant.fence,
    warnings: grant.warnings,
    epoch: grant.epoch,
    ttlMs: grant.ttlMs,
    askedAtMs: at.askedMs,
    answeredAtMs: at.answeredMs,
    extendedAtMs: grant.grantedAtMs,
    sentAtMs: null,
    firstByteAtMs: null,
    lost: false,
    isLocal: false,
  };
}

/** A lease that no engine granted. */
export function localLeaseOf(request: AcquireRequest, of: { epoch: number; ttlMs: number; atMs: number }): Lease {
  const { epoch, ttlMs, atMs } = of;
  return {
    request,
    fence: LOCAL_FENCE,
    warnings: [],
    epoch,
    ttlMs,
    askedAtMs: atMs,
    answeredAtMs: atMs,
    extendedAtMs: Number.NEGATIVE_INFINITY,
    sentAtMs: null,
    firstByteAtMs: null,
    lost: false,
    isLocal: true,
  };
}

/** Beats come three times a lifetime. */
export function beatIntervalMs(ttlMs: number): number {
  return ttlMs / 3;
}

/** What a local clock may be wrong by within one lifetime: 1 % drift and a quarter of a second of scheduling. */
function marginMs(ttlMs: number): number {
  return ttlMs / 100 + 250;
}

/** The monotonic moment after which this process may not assume the lease is alive (rule T2). */
export function localDeadlineMs(lease: Lease, sync: Sync): number {
  return sync.askedAtMs + (lease.extendedAtMs - sync.serverNowMs) + lease.ttlMs - marginMs(lease.ttlMs);
}

/** `claim`: ask Redis before the first byte. `gone`: nothing may be sent. */
export type StartDecision = 'go' | 'claim' | 'gone';

/** `sync` null: the server's clock was never read. `isStrict`: Redis has the last word in any case. */
export function decideStart(
  lease: Lease,
  sync: Sync | null,
  now: { monotonicMs: number; wallMs: number },
  isStrict = false,
): StartDecision {
  if (lease.lost || lease.sentAtMs !== null) return 'gone';
  if (lease.isLocal) return 'go';
  if (isStrict || sync === null) return 'claim';
  if (lease.epoch !== sync.epoch) return 'claim';
  const elapsedMs = now.monotonicMs - sync.askedAtMs;
  if (elapsedMs > 2 * beatIntervalMs(lease.ttlMs)) return 'claim';
  // The monotonic clock stands still while a machine is suspended; the wall clock does not.
  const sleptMs = now.wallMs - sync.askedWallMs - elapsedMs;
  if (sleptMs > marginMs(lease.ttlMs)) return 'claim';
  return now.monotonicMs >= localDeadlineMs(lease, sync) ? 'claim' : 'go';
}

/**
 * Offsets from the grant for the window's anchor interval (rule N1): the send is dated as early as it can have been,
 * the first byte as late.
 */
export function offsets(lease: Lease): Pick<Settlement, 'sentAfterMs' | 'firstByteAfterMs'> {
  const since = (at: number | null, from: number): number | null =>
    at === null ? null : Math.max(0, Math.round(at - from));
  return {
    sentAfterMs: since(lease.sentAtMs, lease.answeredAtMs),
    firstByteAfterMs: since(lease.firstByteAtMs, lease.askedAtMs),
  };
}
