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
  /** Lowered to the highest class the path allows. */
  readonly class: PriorityClass;
  /** Who shares fairly inside one leaf and class; '' = the leaf as a whole. */
  readonly flowKey: string;
  readonly attributes: Attributes;
  readonly wait: WaitPolicy;
  /** Names the call beyond its id: if a waiter of that name was cancelled within 30 s, this one takes its place. */
  readonly place: string | null;
}

/** What scope nodes match on; absent: unset. */
export interface Attributes {
  readonly tool?: string;
  readonly capability?: string;
  readonly source?: string;
  readonly user?: string;
  readonly pool?: string;
  readonly namespace?: string;
}

/**
 * `Reject` at once; `UntilSlot` waits for a slot or the rate and is refused when a window is used up; `UntilWindow`
 * also waits for a window that opens within `maxWaitMs`.
 */
export interface WaitPolicy {
  readonly mode: 'Reject' | 'UntilSlot' | 'UntilWindow';
  readonly maxWaitMs: number;
}

/** Why something is not admitted. `PerAgent` is decided in the sidecar, all others in Redis. */
export const DENY_REASONS = [
  'Concurrency',
  'Rate',
  'Window',
  'Stopped',
  'PerCall',
  /** The vendor said the account's window is used up. */
  'Frozen',
  'Breaker',
  /** Redis lost its memory; grants resume when the owners have registered (rule T7). */
  'Learning',
  /** It would fit, but others wait before it. */
  'Waiting',
  'QueueFull',
  /** Its owner is marked draining. */
  'Draining',
  /** Its leaf was deleted while it waited. */
  'Gone',
  'PerAgent',
] as const;
export type DenyReason = (typeof DENY_REASONS)[number];

/** What admission says. Verdicts are values, never exceptions. */
export type Verdict =
  | Grant
  | Denied
  | Queued
  /** The caller's snapshot is out of date; it must wait for the tree of `generation`. */
  | { readonly kind: 'stale'; readonly generation: number }
  /** Redis lost or changed its memory since the caller last looked: register, then ask again with `epoch`. */
  | { readonly kind: 'epoch'; readonly epoch: number }
  /** This id was settled or cancelled before. */
  | { readonly kind: 'done' };

export interface Denied {
  readonly kind: 'denied';
  readonly reason: DenyReason;
  readonly node: NodeName;
  /** The limit's name, or `concurrency`, `rate`, `stop`, `queue`, …. */
  readonly limit: string;
  /** In the limit's integer unit; 0 where it has none. */
  readonly used: number;
  readonly amount: number;
  /** Server time at which this limit may admit the call; null: unknown (a slot frees, a person resumes). */
  readonly retryAtMs: number | null;
  /** Both are the server's wall time: their difference is the wait. (A grant's times are logical time.) */
  readonly serverNowMs: number;
}

/** Parked: the grant or the denial is pushed, and told by every beat. */
export interface Queued {
  readonly kind: 'queued';
  readonly id: string;
  readonly epoch: number;
  /** 1 = next of its kind. */
  readonly position: number;
  /** Rough; null: nothing to go by. */
  readonly etaMs: number | null;
  /** Logical time. */
  readonly serverNowMs: number;
  /** When the engine wants to be asked again (`tick`), logical time; null: nothing is due by time. */
  readonly nextTickMs: number | null;
}

/** A limit of a node that this grant brought past one of its thresholds, or that was past it already. */
export interface Warning {
  readonly node: NodeName;
  readonly limit: string;
  readonly percent: number;
}

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
  readonly warnings: readonly Warning[];
}

/** How a call ended; a row of the rollback matrix. */
export const OUTCOMES = [
  /** Answered to the end; charge the actual use. */
  'completed',
  /** Never left the sidecar: refund all, the rate token too. */
  'neverSent',
  /** 1302: too many at once. The vendor counted the try, nothing else; the model's adaptive limit shrinks. */
  'refusedConcurrency',
  /** 1303, other 429 before the first byte: too dense; the model's rate is stretched. */
  'refusedRate',
  /** 1305, 1312: the vendor is overloaded, our limits are not the reason; the model pauses. */
  'refusedOverload',
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
  /** The slot stays taken this long after the settlement, because the vendor may still count the call (rule T6). */
  readonly holdMs: number;
  /** `refusedQuota` only: until when the vendor said it is closed (wall); null: it did not say. */
  readonly frozenUntilMs: number | null;
  /** For the ledger only: nothing is decided by it. */
  readonly record?: CallRecord | null;
}

/** What people and bills want to know of a call, beside what it used. Never text of a prompt or an answer. */
export interface CallRecord {
  /** The client's or the vendor's name for it; null: none was given. */
  readonly requestId: string | null;
  readonly user: string | null;
  /** The vendor's API it came by: `OpenAI`, `Anthropic`, `Responses`; `lease`: work that went past the proxy. */
  readonly surface: string;
  /** The model that answered; null: not named. */
  readonly model: string | null;
  /** HTTP status of the vendor; null: no answer. */
  readonly status: number | null;
  /** From the call's arrival at the sidecar. */
  readonly latencyMs: number;
  readonly firstByteMs: number | null;
  /** How often it was sent. */
  readonly attempts: number;
  /** Its use was estimated, because the vendor told none. */
  readonly isEstimate: boolean;
  /** What gates said on the way. */
  readonly trace: readonly string[];
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
  /** In force now: what was learnt where it is adaptive. */
  readonly concurrency: number | null;
  /** Closed by a stop, at this moment. */
  readonly stopped: boolean;
  /** Calls that wait with this node on their path. */
  readonly queued: number;
  /** Closed by the vendor's word, wall time; null: open. */
  readonly frozenUntilMs: number | null;
  readonly breaker: 'Closed' | 'Open' | 'HalfOpen';
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
