/** Whether and when a call that the vendor refused before its first byte is sent again (rule Q7). Pure. */
import type { RetryPolicy } from '../control/terms.ts';
import type { WaitPolicy } from '../engine/terms.ts';
import type { VendorFailure } from '../glm/terms.ts';

export type Refusal = Pick<VendorFailure, 'class' | 'resetAtMs'>;

export interface RetryState {
  readonly policy: RetryPolicy;
  readonly mode: WaitPolicy['mode'];
  /** Of the call's whole wait. */
  readonly remainingMs: number;
  /** Tries made, the refused one included. */
  readonly attempts: number;
  /** Wall time. */
  readonly nowMs: number;
}

export interface RetryPlan {
  /** From the refusal to the next try. */
  readonly delayMs: number;
  /**
   * True: the delay passes in any case, because the vendor is in trouble. False: it is only for a call that is given a slot
   * at once; one that had to wait for a slot has waited for what the vendor lacked.
   */
  readonly always: boolean;
}

/** Null: the vendor's answer is the client's. `random` is in [0, 1). */
export function planRetry(refusal: Refusal, state: RetryState, random: number): RetryPlan | null {
  if (state.attempts >= state.policy.maxAttempts || state.mode === 'Reject') return null;
  const delayMs = backoffMs(state.policy, state.attempts, random);
  if (delayMs > state.remainingMs) return null;
  switch (refusal.class) {
    case 'Concurrency':
    case 'Rate':
      return { delayMs, always: false };
    case 'Overload':
    case 'Retry':
      return { delayMs, always: true };
    case 'Quota':
      return reopens(refusal, state) ? { delayMs, always: false } : null;
    case 'AccountStop':
    case 'ClientError':
      return null;
  }
}

/** The vendor's window opens while the call may still wait; one it names no time for does not. */
function reopens({ resetAtMs }: Refusal, { mode, nowMs, remainingMs }: RetryState): boolean {
  return mode === 'UntilWindow' && resetAtMs !== null && resetAtMs - nowMs <= remainingMs;
}

/** Between half and all of baseDelay × factor^(attempts - 1), at most maxDelay. */
function backoffMs({ baseDelayMs, factorPermille, maxDelayMs }: RetryPolicy, attempts: number, random: number): number {
  const full = Math.min(maxDelayMs, baseDelayMs * (factorPermille / 1000) ** (attempts - 1));
  return Math.round(full * (1 - random / 2));
}
