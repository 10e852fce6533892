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

/** One moment on both local clocks. */
export interface Moment {
  readonly monotonicMs: number;
  readonly wallMs: number;
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
  /** A claim was asked for: should it expire now, Redis charges it until a settlement says that it was never sent. */
  claimed: boolean;
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
    claimed: false,
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
    claimed: false,
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

export interface StartRules {
  /** Redis has the last word in any case. */
  readonly isStrict: boolean;
  /** Between two beats. */
  readonly beatMs: number;
}

/** `sync` null: the server's clock was never read. */
export function decideStart(
  lease: Lease,
  sync: Sync | null,
  now: Moment,
  { isStrict, beatMs }: StartRules,
): StartDecision {
  if (lease.lost || lease.sentAtMs !== null) return 'gone';
  if (lease.isLocal) return 'go';
  if (isStrict || sync === null) return 'claim';
  if (lease.epoch !== sync.epoch) return 'claim';
  const elapsedMs = now.monotonicMs - sync.askedAtMs;
  if (elapsedMs > 2 * beatIntervalMs(lease.ttlMs)) return 'claim';
  if (hasSlept({ monotonicMs: sync.askedAtMs, wallMs: sync.askedWallMs }, now, lease.ttlMs)) return 'claim';
  // A call that starts on a lease about to end would run without one until the next beat.
  return now.monotonicMs >= localDeadlineMs(lease, sync) - untilBeatenMs(beatMs) ? 'claim' : 'go';
}

/** Whether a claim that was asked for then still means that the call may start: its answer may have come late. */
export function claimHolds(asked: Moment, now: Moment, ttlMs: number): boolean {
  const elapsedMs = now.monotonicMs - asked.monotonicMs;
  return elapsedMs < ttlMs - marginMs(ttlMs) - untilBeatenMs(beatIntervalMs(ttlMs)) && !hasSlept(asked, now, ttlMs);
}

/** In this time the next beat is sent and answered. */
function untilBeatenMs(beatMs: number): number {
  return 1.5 * beatMs;
}

/** The monotonic clock stands still while a machine is suspended; the wall clock does not. */
function hasSlept(since: Moment, now: Moment, ttlMs: number): boolean {
  return now.wallMs - since.wallMs - (now.monotonicMs - since.monotonicMs) > marginMs(ttlMs);
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
