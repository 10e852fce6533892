/** What a sidecar is configured with, decoded and checked once at the edge; the rest of the sidecar sees only this. */
import type { Catalog, Currency } from '../catalog/terms.ts';
import type { NodeName, Revision, TreeKey } from '../engine/terms.ts';

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
