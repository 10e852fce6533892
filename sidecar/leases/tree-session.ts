/**
 * All talk of this process with one tree in Redis: acquire, claim, beat, settle, cancel, and the registration that
 * puts our leases back after Redis lost its memory.
 */
import { withDeadline } from '../base/abort.ts';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { LeaseRef, RegisterRequest } from '../engine/port.ts';
import type { AcquireRequest, Grant, Settlement, Verdict } from '../engine/terms.ts';
import type { Lease, Sync } from './lease-state.ts';
import { beatIntervalMs, decideStart, leaseOf, offsets } from './lease-state.ts';
import { type LeaseEngine, meterEngine, type OpenEngine } from './metered-engine.ts';
import type { SidecarMetrics } from './metrics.ts';
import { Outbox } from './outbox.ts';

export interface TreeSessionOptions {
  readonly opened: OpenEngine;
  /** This process on this tree; fresh with every start. */
  readonly owner: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: SidecarMetrics;
  /** Told once when Redis no longer holds a lease of ours. */
  readonly onLost: (lease: Lease) => void;
}

export type Ask = Omit<AcquireRequest, 'owner' | 'epoch'>;
type Refusal = Exclude<Verdict, Grant | { readonly kind: 'epoch' }>;
export type Answer = { readonly kind: 'held'; readonly lease: Lease } | Refusal;

/** A beat that takes longer is tried again. */
const BEAT_TIMEOUT_MS = 2000;
/** A call that comes while the first connection is made waits for it this long. */
const CONNECT_WAIT_MS = 2000;

export class TreeSession {
  readonly #options: TreeSessionOptions;
  readonly #engine: LeaseEngine;
  readonly #outbox: Outbox;
  readonly #leases = new Map<string, Lease>();
  /** Null until a call of the current epoch told the server's time. */
  #sync: Sync | null = null;
  #epoch: number | null = null;
  #ttlMs = 15_000;
  /** Acquires under way: each may yet bring a lease. */
  #asks = 0;
  #registering: Promise<void> | null = null;
  #awaited: PromiseWithResolvers<void> | null = null;
  /** Until the first connection stands, or was waited for in vain. */
  #connecting: Promise<void> | null;

  constructor(options: TreeSessionOptions) {
    const { clock, log, metrics } = options;
    this.#options = options;
    this.#engine = meterEngine(options.opened.engine, clock, metrics);
    this.#outbox = new Outbox({ engine: this.#engine, log, metrics, register: (epoch) => this.#register(epoch) });
    const limit = { ms: CONNECT_WAIT_MS, what: 'connecting to Redis' };
    this.#connecting = withDeadline(clock, limit, (signal) => options.opened.ready(signal))
      .catch(() => undefined)
      .finally(() => {
        this.#connecting = null;
      });
  }

  /** Resolves once Redis can be asked. */
  async connected(signal: AbortSignal): Promise<void> {
    await this.#options.opened.ready(signal);
  }

  /** Nothing is held, asked for or left to tell. */
  get idle(): boolean {
    return this.#asks === 0 && !this.#hasBeats;
  }

  get #hasBeats(): boolean {
    return this.#leases.size > 0 || this.#outbox.size > 0;
  }

  get beatIntervalMs(): number {
    return beatIntervalMs(this.#ttlMs);
  }

  /** Resolves once there is something to beat or to deliver. */
  async busy(): Promise<void> {
    if (this.#hasBeats) return;
    this.#awaited ??= Promise.withResolvers<void>();
    await this.#awaited.promise;
  }

  /**
   * Asks for a lease; registers first when Redis lost its memory. Fails with `unavailable` when Redis cannot tell:
   * the id is then cancelled as soon as it can, so that an unheard grant cannot linger.
   */
  async acquire(ask: Ask): Promise<Answer> {
    this.#asks += 1;
    try {
      return await this.#acquire(ask);
    } finally {
      this.#asks -= 1;
    }
  }

  async #acquire(ask: Ask): Promise<Answer> {
    if (this.#connecting !== null) await this.#connecting;
    const first = await this.#ask(ask);
    if (first.kind !== 'epoch') return first;
    await this.#register(first.epoch);
    const second = await this.#ask(ask);
    if (second.kind === 'epoch') throw new AppError('unavailable', 'Redis keeps losing its memory');
    return second;
  }

  /** True: the first byte may go out now. False: the lease is gone. Fails with `unavailable` if only Redis could tell. */
  async start(lease: Lease, signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#options;
    const now = { monotonicMs: clock.monotonicMs(), wallMs: clock.nowMs() };
    const decision = this.#sync === null ? 'claim' : decideStart(lease, this.#sync, now);
    if (decision === 'gone') return false;
    if (decision === 'claim' && !(await this.#engine.claim(refOf(lease), signal))) this.#lose(lease);
    if (lease.lost || lease.sentAtMs !== null || signal.aborted) return false;
    lease.sentAtMs = clock.monotonicMs();
    return true;
  }

  /** Ends a lease. Never throws: what cannot be delivered now is delivered with a later beat. */
  async settle(lease: Lease, ending: Pick<Settlement, 'outcome' | 'actual'>): Promise<{ late: boolean }> {
    const { id } = lease.request;
    this.#leases.delete(id);
    const reply = await this.#outbox.settle(lease, { id, fence: lease.fence, ...ending, ...offsets(lease) });
    return { late: reply?.kind === 'settled' && reply.late };
  }

  /** Gives back a lease that never sent anything. Never throws. */
  async cancel(lease: Lease): Promise<void> {
    this.#leases.delete(lease.request.id);
    await this.#outbox.cancel(lease.request.id, 'now');
  }

  /** Extends all leases and delivers what waits. Never throws. */
  async beat(signal: AbortSignal): Promise<void> {
    try {
      await this.#beatOnce(signal).catch((error: unknown) => this.#beatAgain(signal, error));
    } catch (error) {
      this.#options.log.warn('lease.beatFailed', { code: AppError.from(error).code, leases: this.#leases.size });
    }
    await this.#outbox.flush(signal);
  }

  /** From now on settlements are only collected, for one `flush` to deliver together. */
  hold(): void {
    this.#outbox.hold();
  }

  async flush(signal: AbortSignal): Promise<void> {
    await this.#outbox.flush(signal);
  }

  /** Resolves once no delivery is under way; what failed waits for the next `flush`. */
  async delivered(): Promise<void> {
    await this.#outbox.delivered();
  }

  async #ask(ask: Ask): Promise<Exclude<Verdict, Grant> | { kind: 'held'; lease: Lease }> {
    const { clock, owner } = this.#options;
    const request: AcquireRequest = { ...ask, owner, epoch: this.#epoch };
    const asked = { monotonicMs: clock.monotonicMs(), wallMs: clock.nowMs() };
    let verdict: Verdict;
    try {
      verdict = await this.#engine.acquire(request);
    } catch (error) {
      await this.#outbox.cancel(ask.id, 'later');
      this.#wake();
      throw error;
    }
    if (verdict.kind !== 'granted') return verdict;
    this.#learn(asked, verdict);
    this.#ttlMs = verdict.ttlMs;
    const lease = leaseOf(request, verdict, { askedMs: asked.monotonicMs, answeredMs: clock.monotonicMs() });
    this.#leases.set(ask.id, lease);
    this.#wake();
    return { kind: 'held', lease };
  }

  /** Remembers the latest reading of the server's clock, unless it belongs to a memory Redis has lost since. */
  #learn(asked: { monotonicMs: number; wallMs: number }, reply: { serverNowMs: number; epoch: number }): void {
    if (this.#epoch !== null && reply.epoch < this.#epoch) return;
    if (this.#sync?.epoch === reply.epoch && asked.monotonicMs < this.#sync.askedAtMs) return;
    this.#epoch = reply.epoch;
    this.#sync = { askedAtMs: asked.monotonicMs, askedWallMs: asked.wallMs, ...reply };
  }

  /** A connection that swallowed a beat may swallow the next as well; one that brought an answer works. */
  async #beatAgain(signal: AbortSignal, reason: unknown): Promise<void> {
    signal.throwIfAborted();
    if (isAnswer(reason)) throw reason;
    const { clock, log, opened } = this.#options;
    log.debug('lease.beatRetried', { code: AppError.from(reason).code });
    const limit = { ms: BEAT_TIMEOUT_MS, what: 'reconnecting to Redis', signal };
    await withDeadline(clock, limit, (bounded) => opened.reconnect(bounded));
    await this.#beatOnce(signal);
  }

  async #beatOnce(signal: AbortSignal): Promise<void> {
    const held = [...this.#leases.values()].filter((lease) => !lease.lost);
    if (held.length === 0) return;
    const { clock, owner } = this.#options;
    const asked = { monotonicMs: clock.monotonicMs(), wallMs: clock.nowMs() };
    const request = { owner, epoch: this.#epoch, leases: held.map(refOf) };
    const limit = { ms: BEAT_TIMEOUT_MS, what: 'a beat', signal };
    const reply = await withDeadline(clock, limit, (bounded) => this.#engine.beat(request, bounded));
    if (reply.kind === 'epoch') return this.#register(reply.epoch);
    this.#learn(asked, { serverNowMs: reply.serverNowMs, epoch: reply.epoch });
    const lost = new Set(reply.lost);
    for (const lease of held) {
      if (lost.has(lease.request.id)) this.#lose(lease);
      else lease.extendedAtMs = reply.serverNowMs;
    }
    const running = held.filter((lease) => lease.lost && lease.sentAtMs !== null);
    if (running.length > 0) await this.#putBack(running);
  }

  /** What runs on although Redis has let it go holds its slots again, so that no other call is granted them. */
  async #putBack(running: readonly Lease[]): Promise<void> {
    const { owner } = this.#options;
    const { epoch } = await this.#engine.register({ owner, leases: running.map(registrationOf), disclaimed: [] });
    for (const lease of running) {
      lease.lost = false;
      lease.epoch = epoch;
    }
  }

  #lose(lease: Lease): void {
    const { id } = lease.request;
    // Settled while the beat was under way: then it is not missing, it has ended.
    if (lease.lost || this.#leases.get(id) !== lease) return;
    lease.lost = true;
    this.#options.metrics.leaseLost(1);
    this.#options.log.warn('lease.lost', { id, sent: lease.sentAtMs !== null });
    this.#options.onLost(lease);
  }

  /** Puts all our leases back under Redis' new epoch; many callers share one registration. */
  async #register(epoch: number): Promise<void> {
    if (this.#epoch !== null && this.#epoch >= epoch) return;
    this.#registering ??= this.#registerNow().finally(() => {
      this.#registering = null;
    });
    await this.#registering;
  }

  async #registerNow(): Promise<void> {
    const leases = [...this.#leases.values(), ...this.#outbox.leases()];
    const disclaimed = this.#outbox.unused();
    const { epoch } = await this.#engine.register({
      owner: this.#options.owner,
      leases: leases.map(registrationOf),
      disclaimed,
    });
    this.#outbox.disclaimed(disclaimed);
    for (const lease of leases) {
      lease.epoch = epoch;
      // Times of the old memory mean nothing to the new one: claim before starting.
      lease.extendedAtMs = Number.NEGATIVE_INFINITY;
    }
    this.#epoch = epoch;
    this.#sync = null;
    this.#options.log.info('lease.registered', { epoch, leases: leases.length, disclaimed: disclaimed.length });
  }

  #wake(): void {
    this.#awaited?.resolve();
    this.#awaited = null;
  }
}

/** Redis' own error reply, however the engine put it: its connection's failures have other names. */
function isAnswer(reason: unknown): boolean {
  return reason instanceof Error && reason.cause instanceof Error && reason.cause.name === 'ReplyError';
}

function refOf(lease: Lease): LeaseRef {
  return { id: lease.request.id, fence: lease.fence, epoch: lease.epoch };
}

function registrationOf(lease: Lease): RegisterRequest['leases'][number] {
  return { lease: refOf(lease), request: lease.request, sent: lease.sentAtMs !== null };
}
