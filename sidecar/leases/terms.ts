/** The lease use cases as the proxy and the LeaseService see them. */
import type { DenyReason, NodeName, Outcome } from '../engine/terms.ts';

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

/** A granted lease. Exactly one of `settle` and `cancel` ends it; a second call changes nothing. */
export interface HeldLease {
  readonly id: string;
  readonly ttlMs: number;
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
   * Replaces the reservation by `usage` at the price of `responseModel` (null: the requested one's).
   * Never throws: a settlement that cannot be delivered is kept and delivered with a later beat.
   * `cutByUs`: our side ended the call, the vendor may still count it; its slot is held a little longer (rule T6).
   */
  settle(
    outcome: Outcome,
    usage: TokenUsage,
    responseModel: string | null,
    options?: { readonly cutByUs?: boolean },
  ): Promise<{ readonly late: boolean }>;
  /** Gives everything back; only before `start`. */
  cancel(): Promise<void>;
}

export interface LeaseDesk {
  /** Asks for a slot and the estimate on every level; decides at once. */
  admit(call: CallSpec, signal: AbortSignal): Promise<Admission>;
  /** Ends all leases of this process in one call; afterwards `admit` answers `unavailable`. For shutdown. */
  drain(signal: AbortSignal): Promise<void>;
  readonly inFlight: number;
}
