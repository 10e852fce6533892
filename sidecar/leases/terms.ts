/** The lease use cases as the proxy and the LeaseService see them. */
import type { Attributes, CallRecord, DenyReason, Outcome, Warning } from '../engine/terms.ts';
import type { NodeName, PriorityClass } from '../engine/tree-terms.ts';
import type { VendorFailure } from '../glm/terms.ts';

/** Tokens as the vendor reports them, cached ones apart from the other input. */
export interface TokenUsage {
  readonly inputTokens: number;
  readonly cachedTokens: number;
  readonly outputTokens: number;
}

export interface CallSpec {
  /** Absent: a fresh one is made. */
  readonly id?: string;
  /** The model name as requested; routing happens inside. */
  readonly model: string;
  readonly estimate: TokenUsage;
  /** Declared by the caller, for tools; default 0. */
  readonly costUnits?: number;
  /** How long the work is expected to run; default one second. */
  readonly runtimeSeconds?: number;
  readonly claims?: Claims;
  /**
   * Names the call beyond its id: a caller that left the queue and comes back with the same within 30 s has its place
   * again. Only asked of calls that may wait.
   */
  readonly place?: () => string;
}

/** What a caller says about its call. It may narrow what pod, pool and quota fix, never widen it (rule W6). */
export interface Claims {
  readonly class?: PriorityClass;
  readonly attributes?: Pick<Attributes, 'tool' | 'capability' | 'source' | 'user'>;
  readonly maxWaitMs?: number;
}

export type Admission =
  | { readonly kind: 'admitted'; readonly lease: HeldLease }
  | Denial
  /** The store or the operator is away, or no snapshot has come yet. Nothing was reserved. */
  | { readonly kind: 'unavailable'; readonly message: string };

export interface Denial {
  readonly kind: 'denied';
  readonly reason: DenyReason;
  readonly node: NodeName;
  readonly limit: string;
  readonly used: number;
  readonly amount: number;
  /** Local wall time in ms; null: unknown. */
  readonly retryAtMs: number | null;
}

/** How a call ended. */
export interface CallEnd {
  readonly outcome: Outcome;
  readonly usage: TokenUsage;
  /** Its price holds; null: the requested model's. */
  readonly responseModel: string | null;
  /** Default: what was reserved. */
  readonly costUnits?: number;
  /** Our side ended the call, the vendor may still count it: its slot stays taken a little longer (rule T6). */
  readonly cutByUs?: boolean;
  /** `refusedQuota`: until when the vendor said it is closed (wall). */
  readonly frozenUntilMs?: number | null;
  /** For the ledger; absent: the work went past the proxy. */
  readonly facts?: CallFacts;
}

/** What only the one who sent a call can tell of it. */
export type CallFacts = Pick<
  CallRecord,
  'requestId' | 'surface' | 'status' | 'latencyMs' | 'firstByteMs' | 'isEstimate'
>;

/** A granted lease. Exactly one of `settle`, `cancel` and `again` ends it; a second call changes nothing. */
export interface HeldLease {
  readonly id: string;
  readonly ttlMs: number;
  /** Limits that this grant brought past one of their thresholds. */
  readonly warnings: readonly Warning[];
  /** Whether `again` could give a lease for another try. */
  readonly isRepeatable: boolean;
  /** Aborts when the lease may no longer be used (lost, or past `maxRuntime`). */
  readonly signal: AbortSignal;
  /**
   * Call right before the first byte goes out: checks the local deadline (rule T2) and claims first if it must.
   * False: the lease is gone, nothing may be sent.
   */
  start(signal: AbortSignal): Promise<boolean>;
  /** Call when the first response byte arrived. */
  noteFirstByte(): void;
  /**
   * Replaces the reservation by what was used. Never throws: a settlement that cannot be delivered is kept and delivered
   * with a later beat.
   */
  settle(end: CallEnd): Promise<{ readonly late: boolean }>;
  /** Gives everything back; only before `start`. */
  cancel(): Promise<void>;
  /**
   * For a call the vendor refused before its first byte: settles it, and if the quota's retry policy lets it, waits at the
   * head of its flow and gives the lease to send it again with (rule Q7). Null: settled, the vendor's answer is final.
   * Rejects as `admit` when its signal aborts; nothing is held then.
   */
  again(refused: Refused): Promise<HeldLease | null>;
}

export interface Refused {
  readonly outcome: Outcome;
  readonly failure: Pick<VendorFailure, 'class' | 'resetAtMs'>;
  readonly facts?: CallFacts;
}

/** A call of this process that waits in Redis. */
export interface WaitingCall {
  /** 1 = next of its kind. */
  readonly position: number;
  /** Rough; null: nothing to go by. */
  readonly etaMs: number | null;
}

export interface LeaseDesk {
  /**
   * Asks for a slot and the estimate on every level, and waits for them as long as the quota (or the caller, if shorter)
   * says. Rejects with the signal's reason when that aborts first.
   */
  admit(call: CallSpec, signal: AbortSignal): Promise<Admission>;
  /** Ends all leases and waits of this process; afterwards `admit` answers `unavailable`. For shutdown. */
  drain(signal: AbortSignal): Promise<void>;
  /** Calls that ask, wait in Redis or hold a lease. */
  readonly inFlight: number;
  /** Those that wait in Redis, longest first. */
  waiting(): readonly WaitingCall[];
}
