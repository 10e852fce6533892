/** One admitted call in the hands of its caller: started at most once, ended exactly once. */
import { amountsOf } from '../catalog/amounts.ts';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { SidecarSnapshot } from '../control/terms.ts';
import type { Amounts, Outcome, Settlement } from '../engine/terms.ts';
import type { Lease } from './lease-state.ts';
import type { HeldLease, TokenUsage } from './terms.ts';
import type { TreeSession } from './tree-session.ts';

export interface HeldLeaseOptions {
  readonly session: TreeSession;
  readonly lease: Lease;
  /** The one the call was admitted under: its prices hold for the whole call. */
  readonly snapshot: SidecarSnapshot;
  /** Model name as requested. */
  readonly model: string;
  /** Wall time of the admission. */
  readonly admittedAtMs: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Told synchronously when the caller ends the lease. */
  readonly onEnd: (held: Held) => void;
  /** Told when the session has taken over: the lease needs no more beats of ours. */
  readonly onGone: (held: Held) => void;
}

/** How long the vendor may count a call that our side cut (rule T6). */
const ABORT_HOLD_MS = 2000;

type Ending = Pick<Settlement, 'outcome' | 'actual'>;

/** Outcomes by which windows are charged; the others refund, whatever the usage. */
const CHARGED: ReadonlySet<Outcome> = new Set<Outcome>(['completed', 'brokeMidStream']);
const NOTHING: Amounts = {
  requests: 0,
  prompts: 0,
  inputTokens: 0,
  cachedTokens: 0,
  outputTokens: 0,
  microCredits: 0,
  nanoCost: 0,
};

const NO_TOKENS: TokenUsage = { inputTokens: 0, cachedTokens: 0, outputTokens: 0 };

export class Held implements HeldLease {
  readonly #options: HeldLeaseOptions;
  readonly #control = new AbortController();
  #ended: Promise<{ late: boolean }> | null = null;
  /** Its caller was told that the first byte may go out. */
  #isSending = false;
  /** Ended by its caller, settled a little later. */
  #held: { readonly release: () => void } | null = null;

  constructor(options: HeldLeaseOptions) {
    this.#options = options;
  }

  get id(): string {
    return this.#options.lease.request.id;
  }

  get ttlMs(): number {
    return this.#options.lease.ttlMs;
  }

  get signal(): AbortSignal {
    return this.#control.signal;
  }

  /** Monotonic moment after which the call may not run on. */
  get runsUntilMs(): number {
    const { lease } = this.#options;
    return lease.askedAtMs + lease.request.maxRuntimeMs;
  }

  /** Redis no longer counts the lease: what has not started must not start, what runs may run on. */
  lose(): void {
    if (this.#options.lease.sentAtMs === null) this.abort(new AppError('conflict', 'the lease was lost'));
  }

  abort(reason: AppError): void {
    this.#control.abort(reason);
  }

  async start(signal: AbortSignal): Promise<boolean> {
    if (this.#ended !== null || this.#control.signal.aborted) return false;
    const { session, lease } = this.#options;
    const started = await session.start(lease, AbortSignal.any([signal, this.#control.signal]));
    this.#isSending = started && !this.#control.signal.aborted;
    // Marked as sent already, though its caller is told not to: it can only be settled.
    if (started && !this.#isSending) await this.settle('neverSent', NO_TOKENS, null);
    return this.#isSending;
  }

  noteFirstByte(): void {
    this.#options.lease.firstByteAtMs ??= this.#options.clock.monotonicMs();
  }

  settle(
    outcome: Outcome,
    usage: TokenUsage,
    responseModel: string | null,
    options: { readonly cutByUs?: boolean } = {},
  ): Promise<{ late: boolean }> {
    if (this.#ended !== null) return this.#ended;
    const ending = { outcome, actual: this.#actual(outcome, usage, responseModel) };
    this.#ended = options.cutByUs && outcome !== 'neverSent' ? this.#settleAfterHold(ending) : this.#deliver(ending);
    this.#options.onEnd(this);
    return this.#ended;
  }

  async cancel(): Promise<void> {
    if (this.#ended !== null) return;
    const { session, lease, onEnd, onGone } = this.#options;
    if (lease.sentAtMs !== null) throw new AppError('conflict', 'the work has started: settle it');
    const cancelled = session.cancel(lease);
    this.#ended = cancelled.then(() => ({ late: false }));
    onEnd(this);
    onGone(this);
    await cancelled;
  }

  /** Ends it at once and without its caller, by what is known: unused grants cost nothing, running calls their reserve. */
  abandon(): void {
    const { lease, onEnd } = this.#options;
    if (this.#held !== null) return this.#held.release();
    if (this.#ended !== null) return;
    this.#ended = this.#deliver(
      this.#isSending
        ? { outcome: 'brokeMidStream', actual: lease.request.reserve }
        : { outcome: 'neverSent', actual: NOTHING },
    );
    onEnd(this);
  }

  #deliver(ending: Ending): Promise<{ late: boolean }> {
    const delivered = this.#options.session.settle(this.#options.lease, ending);
    this.#options.onGone(this);
    return delivered;
  }

  /** The lease lives on until the vendor has surely noticed; `release` ends the wait synchronously. */
  #settleAfterHold(ending: Ending): Promise<{ late: boolean }> {
    const { promise, resolve } = Promise.withResolvers<{ late: boolean }>();
    const waiting = new AbortController();
    const release = (): void => {
      if (this.#held === null) return;
      this.#held = null;
      waiting.abort();
      resolve(this.#deliver(ending));
    };
    this.#held = { release };
    void this.#options.clock.sleep(ABORT_HOLD_MS, waiting.signal).then(release, () => undefined);
    return promise;
  }

  #actual(outcome: Outcome, usage: TokenUsage, responseModel: string | null): Amounts {
    if (!CHARGED.has(outcome)) return NOTHING;
    const { snapshot, lease, model, admittedAtMs, log } = this.#options;
    try {
      const call = { model: responseModel ?? model, usage, atMs: admittedAtMs, currency: snapshot.binding.currency };
      return amountsOf(snapshot.catalog, call);
    } catch (error) {
      // Usage no integer can hold is the vendor's nonsense; the reservation is the best that is known then.
      log.warn('settle.usageRefused', { code: AppError.from(error).code });
      return lease.request.reserve;
    }
  }
}
