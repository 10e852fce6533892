/** One admitted call in the hands of its caller: started at most once, ended exactly once. */
import { amountsOf } from '../catalog/amounts.ts';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import { jitter } from '../base/ids.ts';
import type { Log } from '../base/log.ts';
import type { SidecarSnapshot } from '../control/terms.ts';
import type { CallRecord, Outcome, Warning } from '../engine/terms.ts';
import type { Amounts } from '../engine/tree-terms.ts';
import type { Lease } from './lease-state.ts';
import type { SidecarMetrics } from './metrics.ts';
import type { Patience } from './patience.ts';
import { planRetry, type RetryPlan } from './retry.ts';
import { NO_AMOUNTS } from './tally.ts';
import type { CallEnd, CallSpec, HeldLease, Refused, TokenUsage } from './terms.ts';
import type { Successor } from './tree-call.ts';
import type { Ending, TreeSession } from './tree-session.ts';

export interface HeldLeaseOptions {
  readonly session: TreeSession;
  readonly lease: Lease;
  /** The one the call was admitted under: its prices hold for the whole call. */
  readonly snapshot: SidecarSnapshot;
  readonly spec: CallSpec;
  readonly patience: Patience;
  /** Tries of the call, this one included. */
  readonly attempts: number;
  /** Its slot was not free when it was asked for. */
  readonly hasParked: boolean;
  /** Wall time of the admission. */
  readonly admittedAtMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: SidecarMetrics;
  /**
   * Told synchronously when the caller ends the lease; gives the call to ask for with its settlement, if there is one to
   * carry it.
   */
  readonly onEnd: (carrier: TreeSession | null) => Successor | null;
  /** Told when the session has taken over: the lease needs no more beats of ours. */
  readonly onGone: (held: Held) => void;
  /** Ends the lease and asks for its call again; null: it is not admitted any more. Rejects when its caller goes away. */
  readonly onAgain: (held: Held, ending: Ending) => Promise<Held | null>;
}

/** How long the vendor may count a call that our side cut (rule T6). */
const ABORT_HOLD_MS = 2000;

/** Outcomes by which windows are charged; the others refund, whatever the usage. */
const CHARGED: ReadonlySet<Outcome> = new Set<Outcome>(['completed', 'brokeMidStream']);

const NO_TOKENS: TokenUsage = { inputTokens: 0, cachedTokens: 0, outputTokens: 0 };

export class Held implements HeldLease {
  readonly options: HeldLeaseOptions;
  readonly #control = new AbortController();
  #ended: Promise<{ late: boolean }> | null = null;
  /** Its caller was told that the first byte may go out. */
  #isSending = false;
  /** Redis has told that it no longer counts it. */
  #isLost = false;

  constructor(options: HeldLeaseOptions) {
    this.options = options;
  }

  get id(): string {
    return this.options.lease.request.id;
  }

  get ttlMs(): number {
    return this.options.session.ttlMs;
  }

  get warnings(): readonly Warning[] {
    return this.options.lease.warnings;
  }

  get isRepeatable(): boolean {
    const { patience, attempts, snapshot } = this.options;
    return attempts < snapshot.binding.retry.maxAttempts && patience.remainingMs > 0;
  }

  get signal(): AbortSignal {
    return this.#control.signal;
  }

  /** Monotonic moment after which the call may not run on. */
  get runsUntilMs(): number {
    const { lease } = this.options;
    return lease.askedAtMs + lease.request.maxRuntimeMs;
  }

  /**
   * Redis no longer counts the lease: what has not started must not start. What runs may run on, unless its quota is
   * strict: then it is cut.
   */
  lose(): void {
    if (this.options.lease.sentAtMs === null || this.#isStrict) {
      this.#isLost = true;
      this.abort(new AppError('conflict', 'the lease was lost'));
    }
  }

  abort(reason: AppError): void {
    this.#control.abort(reason);
  }

  async start(signal: AbortSignal): Promise<boolean> {
    if (this.#ended !== null || this.#control.signal.aborted) return false;
    const { session, lease } = this.options;
    const either = AbortSignal.any([signal, this.#control.signal]);
    const started = await session.start(lease, either, { isStrict: this.#isStrict }).catch((reason: unknown) => {
      // A beat was told so while it was claimed.
      if (this.#isLost && !signal.aborted) return false;
      throw reason;
    });
    this.#isSending = started && !this.#control.signal.aborted;
    // Marked as sent already, though its caller is told not to: it can only be settled.
    if (started && !this.#isSending) await this.settle({ outcome: 'neverSent', usage: NO_TOKENS, responseModel: null });
    return this.#isSending;
  }

  noteFirstByte(): void {
    this.options.lease.firstByteAtMs ??= this.options.clock.monotonicMs();
  }

  settle(end: CallEnd): Promise<{ late: boolean }> {
    return this.#ended ?? this.#deliver(this.#endingOf(end));
  }

  async cancel(): Promise<void> {
    if (this.#ended !== null) return;
    const { session, lease, onEnd, onGone } = this.options;
    if (lease.sentAtMs !== null) throw new AppError('conflict', 'the work has started: settle it');
    const cancelled = session.cancel(lease);
    this.#ended = cancelled.then(() => ({ late: false }));
    onEnd(null);
    onGone(this);
    await cancelled;
  }

  async again({ outcome, failure, ...about }: Refused): Promise<HeldLease | null> {
    if (this.#ended !== null) return null;
    const { clock, metrics, patience, onGone, onAgain } = this.options;
    const refusedAtMs = clock.monotonicMs();
    const plan = this.#plan(failure);
    const frozenUntilMs = outcome === 'refusedQuota' ? failure.resetAtMs : null;
    const end = { outcome, usage: NO_TOKENS, responseModel: null, frozenUntilMs, ...about };
    if (plan === null || patience.isOver) {
      void this.settle(end);
      return null;
    }
    metrics.retried(failure.class);
    this.#ended = Promise.resolve({ late: false });
    onGone(this);
    const next = await onAgain(this, this.#endingOf(end));
    if (next === null || !(await next.#isDue(plan, refusedAtMs))) return null;
    return next;
  }

  /** Ends it at once and without its caller, by what is known: unused grants cost nothing, running calls their reserve. */
  abandon(): void {
    const { lease } = this.options;
    if (this.#ended !== null) return;
    const outcome = this.#isSending ? 'brokeMidStream' : 'neverSent';
    const actual = this.#isSending ? lease.request.reserve : NO_AMOUNTS;
    void this.#deliver({ outcome, actual, holdMs: 0, frozenUntilMs: null });
  }

  get #isStrict(): boolean {
    return this.options.snapshot.binding.durability === 'Strict';
  }

  #plan(failure: Refused['failure']): RetryPlan | null {
    const { snapshot, patience, attempts, clock } = this.options;
    const { mode, remainingMs } = patience;
    const state = { policy: snapshot.binding.retry, mode, remainingMs, attempts, nowMs: clock.nowMs() };
    return planRetry(failure, state, jitter());
  }

  /** Waits until a repeated call may be sent; false: its lease went meanwhile. */
  async #isDue({ delayMs, always }: RetryPlan, refusedAtMs: number): Promise<boolean> {
    const { clock, hasParked, patience } = this.options;
    const leftMs = refusedAtMs + delayMs - clock.monotonicMs();
    if (leftMs <= 0 || (hasParked && !always)) return true;
    try {
      await clock.sleep(leftMs, AbortSignal.any([patience.signal, this.#control.signal]));
      return true;
    } catch {
      await this.cancel();
      if (patience.callerLeft) patience.throwIfOver();
      return false;
    }
  }

  #deliver(ending: Ending): Promise<{ late: boolean }> {
    const { session, lease, onEnd, onGone } = this.options;
    const { promise, resolve } = Promise.withResolvers<{ late: boolean }>();
    this.#ended = promise;
    resolve(session.settle(lease, ending, onEnd(session)));
    onGone(this);
    return promise;
  }

  #endingOf(end: CallEnd): Ending {
    const { outcome, cutByUs = false, frozenUntilMs = null } = end;
    const holdMs = cutByUs && outcome !== 'neverSent' ? ABORT_HOLD_MS : 0;
    return { outcome, actual: this.#actual(end), holdMs, frozenUntilMs, record: this.#recordOf(end) };
  }

  #recordOf({ responseModel: model, facts }: CallEnd): CallRecord {
    const { lease, attempts, clock } = this.options;
    const user = lease.request.attributes.user ?? null;
    const latencyMs = clock.monotonicMs() - lease.askedAtMs;
    const unknown = {
      requestId: null,
      surface: 'lease',
      status: null,
      latencyMs,
      firstByteMs: null,
      isEstimate: false,
    };
    return { ...(facts ?? unknown), user, model, attempts, trace: [] };
  }

  #actual({ outcome, usage, responseModel, costUnits }: CallEnd): Amounts {
    if (!CHARGED.has(outcome)) return NO_AMOUNTS;
    const { snapshot, lease, spec, admittedAtMs, clock, log } = this.options;
    const { currency } = snapshot.binding;
    const { reserve } = lease.request;
    const runtimeSeconds = lease.sentAtMs === null ? 0 : (clock.monotonicMs() - lease.sentAtMs) / 1000;
    const declared = { costUnits: costUnits ?? reserve.costUnits, runtimeSeconds };
    try {
      const call = { model: responseModel ?? spec.model, usage, atMs: admittedAtMs, currency, ...declared };
      return amountsOf(snapshot.catalog, call);
    } catch (error) {
      // Usage no integer can hold is the vendor's nonsense; the reservation is the best that is known then.
      log.warn('settle.usageRefused', { code: AppError.from(error).code });
      return reserve;
    }
  }
}
