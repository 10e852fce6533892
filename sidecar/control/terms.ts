/** What a sidecar is configured with, decoded and checked once at the edge; the rest of the sidecar sees only this. */
import type { Catalog, Currency } from '../catalog/terms.ts';
import type { Attributes, WaitPolicy } from '../engine/terms.ts';
import type { NodeName, PriorityClass, Revision, TreeKey } from '../engine/tree-terms.ts';

/** What happens while Redis cannot be asked: nothing new, a share of the last known limits for a while, or everything. */
export interface StoreFailurePolicy {
  readonly policy: 'Closed' | 'LocalShare' | 'Open';
  readonly localSharePercent: number;
  readonly maxDurationMs: number;
}

export interface RetryPolicy {
  /** The first try counts. */
  readonly maxAttempts: number;
  readonly baseDelayMs: number;
  readonly factorPermille: number;
  readonly maxDelayMs: number;
}

export type Billing = 'CodingPlan' | 'TeamSeat' | 'PayAsYouGo';

export interface SidecarSnapshot {
  readonly revision: Revision;
  readonly binding: {
    readonly treeKey: TreeKey;
    /** `namespace/name` of the bound GLMQuota. */
    readonly quota: string;
    readonly leaf: NodeName;
    /** From the leaf up to `account`, for showing: Redis derives the path of a call itself (rule W1). */
    readonly path: readonly NodeName[];
    readonly currency: Currency;
    /** Calls this process may have in flight; null: no limit of its own. */
    readonly perAgentConcurrency: number | null;
    readonly maxRuntimeMs: number;
    /** What a call does when it does not fit; callers may shorten it. */
    readonly waiting: WaitPolicy;
    /** Callers may ask for a lower class than `max`, never for a higher one (rule W6). */
    readonly class: { readonly default: PriorityClass; readonly max: PriorityClass };
    /** What pod and pool say about its calls: scope nodes match on it, callers cannot change it. */
    readonly attributes: Attributes;
    /** A person wants the calls of this binding ended now: running ones are cut and settled, waiting ones given up. */
    readonly drained: boolean;
    /** `Strict`: a grant is confirmed by a replica before the first byte goes out. */
    readonly durability: 'Async' | 'Strict';
    readonly onStoreFailure: StoreFailurePolicy;
    /** Of calls the vendor refused before their first byte (rule Q7). */
    readonly retry: RetryPolicy;
  };
  readonly catalog: Omit<Catalog, 'plans'>;
  readonly upstream: {
    /** Scheme, host and port, no path. */
    readonly origin: string;
    readonly billing: Billing;
    readonly apiKey: string;
    readonly caPem: string | null;
  };
  readonly redis: {
    readonly url: string;
    readonly username: string | null;
    readonly password: string | null;
    readonly caPem: string | null;
    /** For the Sentinels, if they have users. */
    readonly sentinel?: { readonly username: string; readonly password: string };
  };
}

/** Where snapshots come from: the operator's Watch stream, or a file in local mode. */
export interface SnapshotSource {
  /**
   * Yields the snapshots of one tree in ascending revision; survives a lost server by itself; ends when the signal aborts. Fails
   * with `forbidden` or `unsupported` when the last snapshot must not be used any more; it may be watched again then.
   */
  watch(signal: AbortSignal): AsyncIterable<SidecarSnapshot>;
}
