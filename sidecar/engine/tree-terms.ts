/**
 * The words of a tree: what is limited, by how much, and how nodes hang together.
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
  'CostUnits',
  'RuntimeSeconds',
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
  /** Declared by the caller, for tools. */
  readonly costUnits: number;
  readonly runtimeSeconds: number;
}

export type CalendarPeriod = 'Hour' | 'Day' | 'Week' | 'Month' | 'Year';

export type Window =
  /** Opens at the first accepted call, as the vendor's does. */
  | { readonly type: 'Anchored'; readonly durationMs: number }
  /** A ring of buckets; may free room up to one bucket late, never early. */
  | { readonly type: 'Sliding'; readonly durationMs: number }
  /** Starts at multiples of its duration since the Unix epoch. */
  | { readonly type: 'Fixed'; readonly durationMs: number }
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
  /** Kept free for this node: siblings cannot use it. Of the nearest ancestor's limit of the same name (rule N3). */
  readonly guaranteed?: number;
}

/** `account`, `quota:<namespace>/<name>` or `model:<routed model>`. A node is its name (rule W4). */
export type NodeName = string;

/** GCRA: one call per `intervalUs` microseconds on average, `burst` calls may come at once (≥ 1). */
export interface RateConfig {
  readonly intervalUs: number;
  readonly burst: number;
}

export const PRIORITY_CLASSES = ['System', 'High', 'Normal', 'Low'] as const;
/** Shares of a full node are 8:4:2:1 (rule Q8). */
export type PriorityClass = (typeof PRIORITY_CLASSES)[number];

/** Closed to new grants from `fromMs` (wall) until `untilMs`; null: until a person resumes. */
export interface StopConfig {
  /** `stop` for a person's, the schedule's name for a schedule's. */
  readonly name: string;
  readonly fromMs: number;
  readonly untilMs: number | null;
  /** Classes it does not hold. */
  readonly except: readonly PriorityClass[];
}

/** What a scope node counts: an empty list matches everything, `unset` says whether a call without the attribute matches. */
export interface ScopeConfig {
  readonly models: readonly string[];
  readonly tools: readonly string[];
  readonly capabilities: readonly string[];
  readonly sources: readonly string[];
  readonly users: readonly string[];
  readonly pools: readonly string[];
  readonly namespaces: readonly string[];
  readonly unset: 'Match' | 'Skip';
}

/** A limit that learns (ceiling-AIMD): starts at `start`, stays within `min` and the node's `concurrency`. */
export interface AdaptiveConfig {
  readonly min: number;
  readonly start: number;
}

/** Opens when at least `minimumCalls` ended within a minute and this share of them failed. */
export interface BreakerConfig {
  readonly failureRatePercent: number;
  readonly minimumCalls: number;
  readonly openForMs: number;
}

export interface NodeConfig {
  readonly name: NodeName;
  /** Null for `account` only. Model nodes hang under `account`. */
  readonly parent: NodeName | null;
  /** Calls in flight at once; null: no limit of its own. With `adaptive` the most it may learn. */
  readonly concurrency: number | null;
  /** Null: `concurrency` is fixed. */
  readonly adaptive: AdaptiveConfig | null;
  readonly rate: RateConfig | null;
  readonly limits: readonly LimitConfig[];
  /** Most that one call may reserve. */
  readonly perCall: readonly { readonly resource: Resource; readonly max: number }[];
  readonly stops: readonly StopConfig[];
  /** Not null: a scope node; it counts the calls of its parent's subtree that match. No call has it as its leaf. */
  readonly scope: ScopeConfig | null;
  /** Share of this node among its siblings, 1..1000. */
  readonly weight: number;
  /** The highest class a call below may have. */
  readonly maxClass: PriorityClass;
  /** The node's own limits are counted, but refuse nothing (rule N6). */
  readonly observe: boolean;
  /** Calls that may wait with this leaf (of `account`: in the whole tree); null: as many as like. */
  readonly maxQueue: number | null;
  /** Model nodes only. */
  readonly breaker: BreakerConfig | null;
  /** Percentages of limits whose crossing a grant reports, ascending. */
  readonly thresholds: readonly number[];
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
