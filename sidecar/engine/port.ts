/** What the use cases need of the engine; `client.ts` implements it over Redis. */
import type {
  AcquireRequest,
  AuditReport,
  ConfigureReply,
  Revision,
  Settlement,
  SettleReply,
  TreeConfig,
  TreeKey,
  TreeSnapshot,
  Verdict,
} from './terms.ts';

/** What a sidecar may do to its tree. Every method fails with AppError `unavailable` when Redis cannot be asked. */
export interface SidecarEngine {
  acquire(request: AcquireRequest, signal?: AbortSignal): Promise<Verdict>;
  /** Marks the lease alive before its first byte is sent (rule T2); false: it is gone, do not send. */
  claim(lease: LeaseRef, signal?: AbortSignal): Promise<boolean>;
  settle(settlements: readonly Settlement[], signal?: AbortSignal): Promise<readonly SettleReply[]>;
  /** Refunds everything of a lease that was never sent; ids unknown to Redis become tombstones. */
  cancel(id: string, signal?: AbortSignal): Promise<void>;
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
}

export type BeatReply =
  | { readonly kind: 'alive'; readonly epoch: number; readonly serverNowMs: number; readonly lost: readonly string[] }
  | { readonly kind: 'epoch'; readonly epoch: number };

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
  configure(tree: TreeConfig, revision: Revision, signal?: AbortSignal): Promise<ConfigureReply>;
  /** What `snapshot().configHash` says once this tree was configured: tells whether Redis holds it. */
  hashOf(tree: TreeConfig): string;
  /**
   * The tree as `configure` wrote it last (equal to what was passed to it), null when Redis has none. An operator that
   * starts anew takes from it the limits of objects whose spec is bad by now.
   */
  config(key: TreeKey, signal?: AbortSignal): Promise<TreeConfig | null>;
  snapshot(key: TreeKey, signal?: AbortSignal): Promise<TreeSnapshot | null>;
  audit(key: TreeKey, signal?: AbortSignal): Promise<AuditReport>;
}
