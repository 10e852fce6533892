/**
 * The words of the quota engine: what a tree is, what a call asks for, what it is told.
 * Everything counted is an integer below 2^53: calls, tokens, micro-credits, nano-currency, milliseconds.
 */

/** What a limit counts. CONTRIBUTING has the recipe for another member. */
export const RESOURCES = [
  'Requests',
  'Prompts',
  'InputTokens',
  'CachedTokens',
  'OutputTokens',
  'Tokens',
  'Credits',
  'Cost',
] as const;
export type Resource = (typeof RESOURCES)[number];

/** The largest amount a limit or a counter may hold. */
export const MAX_AMOUNT = Number.MAX_SAFE_INTEGER;

/** What one call uses, or is expected to use. `Tokens` is the sum of the three token fields. */
export interface Amounts {
  readonly requests: number;
  readonly prompts: number;
  /** Prompt tokens that were not served from the vendor's cache. */
  readonly inputTokens: number;
  readonly cachedTokens: number;
  readonly outputTokens: number;
  /** Plan credits × 10^6. */
  readonly microCredits: number;
  /** List price in the account's currency × 10^9. */
  readonly nanoCost: number;
}

export type CalendarPeriod = 'Hour' | 'Day' | 'Week' | 'Month' | 'Year';

export type Window =
  /** Opens at the first accepted call, as the vendor's does. */
  | { readonly type: 'Anchored'; readonly durationMs: number }
  /** A ring of buckets; may free room up to one bucket late, never early. */
  | { readonly type: 'Sliding'; readonly durationMs: number }
  /**
   * Starts at the boundaries of a calendar. `boundariesMs` are the starts of the running and the next periods
   * (at most 400, ascending); the engine knows no calendar itself and callers never send time (rule N2).
   */
  | {
      readonly type: 'Calendar';
      readonly period: CalendarPeriod;
      readonly timeZone: string;
      readonly boundariesMs: readonly number[];
    };

export interface LimitConfig {
  readonly name: string;
  readonly resource: Resource;
  /** In the resource's integer unit (micro-credits, nano-currency), 0..MAX_AMOUNT. */
  readonly amount: number;
  readonly window: Window;
  /** The ancestor whose limit of the same name owns the window (anchor and reset); absent: this node owns it (rule N3). */
  readonly windowOwner?: NodeName;
}

/** `account`, `quota:<namespace>/<name>` or `model:<routed model>`. A node is its name (rule W4). */
export type NodeName = string;

/** GCRA: one call per `intervalUs` microseconds on average, `burst` calls may come at once (≥ 1). */
export interface RateConfig {
  readonly intervalUs: number;
  readonly burst: number;
}

export interface NodeConfig {
  readonly name: NodeName;
  /** Null for `account` only. Model nodes hang under `account`. */
  readonly parent: NodeName | null;
  /** Calls in flight at once; null: no limit of its own. */
  readonly concurrency: number | null;
  readonly rate: RateConfig | null;
  readonly limits: readonly LimitConfig[];
  /** Held by a person: no new grants. */
  readonly stopped: boolean;
}

/** One account and all quotas under it: what `configure` writes as a whole. */
export interface TreeConfig {
  /** First 26 base32 characters of SHA-256(`namespace/name`) of the account; the Redis hash tag (rule W3). */
  readonly key: TreeKey;
  readonly account: { readonly namespace: string; readonly name: string; readonly uid: string };
  /** Parents before children. Holds one `model:<name>` node per catalog model, and `model:other`. */
  readonly nodes: readonly NodeConfig[];
}
export type TreeKey = string;

/**
 * Orders writers of a tree. (leaseCreatedMs, transitions) are those of the leader-election Lease object, so a leader
 * that was paused and replaced is older than its successor; `generation` counts that leader's writes.
 */
export interface Revision {
  readonly leaseCreatedMs: number;
  readonly transitions: number;
  readonly generation: number;
}

export interface AcquireRequest {
  /** Unique per call; asking twice with one id is harmless. */
  readonly id: string;
  /** The sidecar process: pod uid plus a fresh suffix per start. */
  readonly owner: string;
  readonly leaf: NodeName;
  /** Routed model name; one without a node of its own counts on `model:other`. */
  readonly model: string;
  /** The path generation the caller was configured with; another one in Redis is answered `stale` (rule W1). */
  readonly generation: number;
  /** The epoch the caller last saw; null before the first answer. */
  readonly epoch: number | null;
  readonly reserve: Amounts;
  /** No call runs longer; the record of a lease is kept this long plus 10 minutes for late settlement (rule T4). */
  readonly maxRuntimeMs: number;
}

export type DenyReason = 'Concurrency' | 'Rate' | 'Window' | 'Stopped' | 'PerAgent';

/** What admission says. Verdicts are values, never exceptions. */
export type Verdict =
  | Grant
  | {
      readonly kind: 'denied';
      readonly reason: DenyReason;
      readonly node: NodeName;
      /** The limit's name, or `concurrency`, `rate`, `stop`. */
      readonly limit: string;
      /** In the limit's integer unit; 0 where it has none. */
      readonly used: number;
      readonly amount: number;
      /** Server time at which this limit may admit the call; null: unknown (a slot frees, a person resumes). */
      readonly retryAtMs: number | null;
      /** Both are the server's wall time: their difference is the wait. (A grant's times are logical time.) */
      readonly serverNowMs: number;
    }
  /** The caller's snapshot is out of date; it must wait for the tree of `generation`. */
  | { readonly kind: 'stale'; readonly generation: number }
  /** Redis lost or changed its memory since the caller last looked: register, then ask again with `epoch`. */
  | { readonly kind: 'epoch'; readonly epoch: number }
  /** This id was settled or cancelled before. */
  | { readonly kind: 'done' };

export interface Grant {
  readonly kind: 'granted';
  readonly id: string;
  /** Grows with every grant of the tree; whoever holds a smaller one for the same id is out of date. */
  readonly fence: number;
  readonly epoch: number;
  /** Server (logical) time of the grant and of the answer: rule T2 derives the local deadline from them. */
  readonly grantedAtMs: number;
  readonly serverNowMs: number;
  readonly ttlMs: number;
}

/** How a call ended; a row of the rollback matrix. */
export const OUTCOMES = [
  /** Answered to the end; charge the actual use. */
  'completed',
  /** Never left the sidecar: refund all, the rate token too. */
  'neverSent',
  /** 1302, 1303, 1305, other 429 before the first byte: the vendor counted the try, nothing else. */
  'refusedRate',
  /** 1308, 1310: a window of the vendor's is used up. */
  'refusedQuota',
  /** 5xx or time-out before the first byte. */
  'failedBeforeFirstByte',
  /** Client error (4xx that is none of the above): the vendor did no work. */
  'rejected',
  /** Ended in the middle of the response: charge what was seen. */
  'brokeMidStream',
] as const;
export type Outcome = (typeof OUTCOMES)[number];

export interface Settlement {
  readonly id: string;
  readonly fence: number;
  readonly outcome: Outcome;
  /** What the call used; for outcomes that refund the windows it is ignored. */
  readonly actual: Amounts;
  /**
   * Offsets from the grant in ms, for the window's anchor interval (rule N1); null: never sent / never answered. Without
   * an answer the call may have opened the window at any time until its settlement, or not at all.
   */
  readonly sentAfterMs: number | null;
  readonly firstByteAfterMs: number | null;
}

export type SettleReply =
  /** `late`: the lease had expired; its reserve was replaced by the actual use all the same (rule T4). */
  | { readonly kind: 'settled'; readonly late: boolean; readonly overdraft: boolean }
  /** Settled before, or never granted: nothing changed. */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'epoch'; readonly epoch: number };

export interface UsageSnapshot {
  readonly limit: string;
  readonly resource: Resource;
  readonly amount: number;
  readonly used: number;
  readonly reserved: number;
  /** Null: the window is not open (Anchored) or has no reset (Sliding). */
  readonly resetsAtMs: number | null;
}

export interface NodeSnapshot {
  readonly name: NodeName;
  readonly inFlight: number;
  readonly concurrency: number | null;
  readonly stopped: boolean;
  readonly usage: readonly UsageSnapshot[];
}

export interface TreeSnapshot {
  readonly key: TreeKey;
  readonly epoch: number;
  readonly revision: Revision;
  /** SHA-256 (hex) of the compiled config as `configure` wrote it. */
  readonly configHash: string;
  readonly serverNowMs: number;
  readonly nodes: readonly NodeSnapshot[];
  readonly leases: number;
}

/** Counters against their recount from the leases; all zero, or the engine is broken. */
export interface AuditReport {
  readonly key: TreeKey;
  readonly leases: number;
  readonly drifts: readonly {
    readonly node: NodeName;
    readonly counter: string;
    readonly stored: number;
    readonly recounted: number;
  }[];
}

export type ConfigureReply =
  | { readonly kind: 'applied'; readonly generation: number }
  /** A newer leader wrote already: this one must stop. */
  | { readonly kind: 'fenced'; readonly revision: Revision }
  /** The tree belongs to another account (rule W3). */
  | { readonly kind: 'conflict'; readonly namespace: string; readonly name: string };
