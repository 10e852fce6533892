/**
 * The words of the quota engine: what a tree is, what a call asks for, what it is told.
 * Everything counted is an integer below 2^53: calls, tokens, micro-credits, nano-currency, milliseconds.
 */

import type { Amounts, NodeName, PriorityClass, Resource, Revision, TreeKey } from './tree-terms.ts';

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
  /** Of an anchored window that is open. */
  readonly anchor?: Anchor;
}

/** Between these (wall time) a window opened (rule N1). */
export interface Anchor {
  readonly loMs: number;
  /** Null: no call that may have opened it was answered yet. */
  readonly hiMs: number | null;
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
  /** Until its rate is as if it had never been used. */
  readonly rateWaitUs: number;
  /** When the call began to wait that has waited longest with this node on its path, wall time; null: none waits. */
  readonly oldestWaiterMs: number | null;
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
