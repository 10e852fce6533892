/** What the use cases need of the engine; `client.ts` implements it over Redis. */
import type {
  AcquireRequest,
  AuditReport,
  ConfigureReply,
  Denied,
  Grant,
  Settlement,
  SettleReply,
  TreeSnapshot,
  Verdict,
} from './terms.ts';
import type { NodeName, Revision, TreeConfig, TreeKey } from './tree-terms.ts';

/** What a sidecar may do to its tree. Every method fails with AppError `unavailable` when Redis cannot be asked. */
export interface SidecarEngine {
  acquire(request: AcquireRequest, signal?: AbortSignal): Promise<Verdict>;
  /**
   * Marks the lease alive before its first byte is sent (rule T2); false: it is gone, do not send. `confirm`: a replica has
   * it before this resolves (strict trees); fails with `unavailable` when none says so in time.
   */
  claim(lease: LeaseRef, options?: { readonly confirm?: boolean }, signal?: AbortSignal): Promise<boolean>;
  settle(settlements: readonly Settlement[], signal?: AbortSignal): Promise<readonly SettleReply[]>;
  /**
   * Settles and asks in one step. With another id: the newcomer never jumps the queue (rule Q9). With the same id it is a
   * retry: the call goes back to the head of its flow (rule Q7).
   */
  swap(settlement: Settlement, next: AcquireRequest, signal?: AbortSignal): Promise<SwapReply>;
  /**
   * Refunds everything of a lease that was never sent, takes a waiter out of the queue; ids unknown to Redis become
   * tombstones. `keepPlace`: its `place` is remembered for 30 s.
   */
  cancel(id: string, options?: { readonly keepPlace?: boolean }, signal?: AbortSignal): Promise<void>;
  /** Does what is due by time. Null: nothing more is due by time; else when to ask again (logical time). */
  tick(signal?: AbortSignal): Promise<{ readonly serverNowMs: number; readonly nextTickMs: number | null }>;
  /**
   * Grants and denials of this owner's waiters as they happen, at most once each: beats tell what got lost. Ends with the
   * signal. `opened` is called whenever the subscription stands, also after a lost connection: what was pushed before is
   * then asked for by a beat.
   */
  notices(owner: string, signal: AbortSignal, opened?: () => void): AsyncIterable<Notice>;
  /** Extends the owner's leases; tells which of them are no longer there. */
  beat(request: BeatRequest, signal?: AbortSignal): Promise<BeatReply>;
  /** Announces a process and the leases it still runs; after an `epoch` verdict this comes first (rule T7, T4). */
  register(request: RegisterRequest, signal?: AbortSignal): Promise<{ readonly epoch: number }>;
  snapshot(signal?: AbortSignal): Promise<TreeSnapshot | null>;
}

export interface LeaseRef {
  readonly id: string;
  readonly fence: number;
  readonly epoch: number;
}

export interface BeatRequest {
  readonly owner: string;
  readonly epoch: number | null;
  readonly leases: readonly LeaseRef[];
  /** Ids that wait. */
  readonly waiters: readonly string[];
}

export type BeatReply =
  | {
      readonly kind: 'alive';
      readonly epoch: number;
      readonly serverNowMs: number;
      /** Owners that are registered, this one included: what a share of a limit is divided by (rule F4). */
      readonly owners: number;
      /** Leases and waiters that are no longer there. */
      readonly lost: readonly string[];
      readonly waiting: readonly { readonly id: string; readonly position: number; readonly etaMs: number | null }[];
      /** What became of waiters since the last beat; a pushed notice may have told already. */
      readonly notices: readonly Notice[];
      readonly nextTickMs: number | null;
    }
  | { readonly kind: 'epoch'; readonly epoch: number };

/** What became of a waiter. */
export type Notice =
  | { readonly kind: 'granted'; readonly id: string; readonly grant: Grant }
  | { readonly kind: 'denied'; readonly id: string; readonly denial: Denied };

export interface SwapReply {
  readonly settled: SettleReply;
  readonly verdict: Verdict;
}

export interface RegisterRequest {
  readonly owner: string;
  /** Leases still running, with everything needed to put them back (rule 2.7 of the design: registrations dedupe by id). */
  readonly leases: readonly { readonly lease: LeaseRef; readonly request: AcquireRequest; readonly sent: boolean }[];
  /** Grants this owner was given but never used: refunded in full (rule T4). */
  readonly disclaimed: readonly string[];
}

/** What the operator (and local mode) may do besides. */
export interface AdminEngine {
  /** Loads the function library this code was built with; keeps older versions. */
  loadLibrary(signal?: AbortSignal): Promise<void>;
  configure(
    tree: TreeConfig,
    revision: Revision,
    options?: ConfigureOptions,
    signal?: AbortSignal,
  ): Promise<ConfigureReply>;
  /** What `snapshot().configHash` says once this tree was configured: tells whether Redis holds it. */
  hashOf(tree: TreeConfig): string;
  /**
   * The tree as `configure` wrote it last (equal to what was passed to it), null when Redis has none. An operator that
   * starts anew takes from it the limits of objects whose spec is bad by now.
   */
  config(key: TreeKey, signal?: AbortSignal): Promise<TreeConfig | null>;
  /**
   * Of all that `configure` wrote, what the engine goes by included: another one whenever anybody changes any of it. Null
   * when Redis has none.
   */
  fingerprint(key: TreeKey, signal?: AbortSignal): Promise<string | null>;
  snapshot(key: TreeKey, signal?: AbortSignal): Promise<TreeSnapshot | null>;
  audit(key: TreeKey, signal?: AbortSignal): Promise<AuditReport>;
  /** Does what is due by time in a tree. */
  tick(
    key: TreeKey,
    signal?: AbortSignal,
  ): Promise<{ readonly serverNowMs: number; readonly nextTickMs: number | null }>;
  /**
   * Ends leases and waiters of owners whose name starts with `prefix` and is not `except`, as if they had expired: at most
   * 64 of each, so that Redis is not busy for long. None ended: none is left.
   */
  reclaim(
    key: TreeKey,
    owners: { readonly prefix: string; readonly except: string | null },
    signal?: AbortSignal,
  ): Promise<{ readonly leases: number; readonly waiters: number }>;
  /** Owners with that prefix get nothing new, until undone. */
  drain(key: TreeKey, prefix: string, draining: boolean, signal?: AbortSignal): Promise<void>;
  /**
   * Until `untilMs` (wall) the tree's slot may move between these servers, named as `identityOf` names them, without its
   * epoch being raised (rule W2). Replaces what was declared before.
   */
  declareMove(key: TreeKey, move: PlannedMove, signal?: AbortSignal): Promise<void>;
  /** Closes a node to new grants until `untilMs` (wall); null opens it. */
  freeze(key: TreeKey, node: NodeName, untilMs: number | null, signal?: AbortSignal): Promise<void>;
  /** Ends the running window of a limit as if its time were over. False: there is no such limit. */
  resetWindow(key: TreeKey, node: NodeName, limit: string, signal?: AbortSignal): Promise<boolean>;
  /** Brings a window in line with the vendor's own counter (rule N5). */
  calibrate(key: TreeKey, reading: Calibration, signal?: AbortSignal): Promise<CalibrationReply>;
}

export interface PlannedMove {
  readonly identities: readonly string[];
  readonly untilMs: number;
}

export interface ConfigureOptions {
  /** Redis lost a tree that existed: where it has no state of it, owners get time to register first (rule T7). */
  readonly lost?: boolean;
  /** What was used when it was last looked at; only read where Redis has no state of the tree (rule F3). */
  readonly checkpoint?: Checkpoint;
}

/** Use of the windows that still run, and what was learnt. Limits and nodes it names and the tree lacks are skipped. */
export interface Checkpoint {
  readonly usage: readonly {
    readonly node: NodeName;
    readonly limit: string;
    /** Settled and reserved, in the limit's integer unit. */
    readonly used: number;
    /** When the running window opened (wall time), at the latest; null: not known, or it opens at no time, as Sliding ones. */
    readonly anchorMs: number | null;
    /** At the earliest, if that is another time. */
    readonly anchorLoMs?: number;
  }[];
  readonly learnt: readonly {
    readonly node: NodeName;
    /** Wall time at which the node's rate is as if it had never been used; null: it is. */
    readonly rateUntilMs: number | null;
    /** Calls in flight that an adaptive node bears; null: it is not adaptive. */
    readonly concurrency: number | null;
  }[];
}

/** What the vendor's usage API said about one window of the account. */
export interface Calibration {
  readonly limit: string;
  /** In the limit's integer unit. */
  readonly used: number;
  /** Wall time; null: the vendor says the window is not open. */
  readonly resetAtMs: number | null;
  /** Server wall time at which the poll was sent. */
  readonly pollStartMs: number;
}

export interface CalibrationReply {
  readonly kind: 'applied' | 'kept' | 'unknown';
  /** Local use before and after. */
  readonly before: number;
  readonly after: number;
}
