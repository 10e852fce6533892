/**
 * All talk of this process with one tree in Redis: asking, waiting, beating, settling, and what puts our leases back
 * after Redis lost its memory or was away.
 */
import { withDeadline } from '../base/abort.ts';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Settlement } from '../engine/terms.ts';
import { Admissions } from './admissions.ts';
import type { Lease } from './lease-state.ts';
import { beatIntervalMs, claimHolds, decideStart, offsets } from './lease-state.ts';
import { LocalStarts } from './local-starts.ts';
import { type LeaseEngine, meterEngine, type OpenEngine } from './metered-engine.ts';
import type { SidecarMetrics } from './metrics.ts';
import { Outbox } from './outbox.ts';
import { isAnswer, Pulse } from './pulse.ts';
import { refOf, Registrar } from './registrar.ts';
import { StoreWatch } from './store-watch.ts';
import { NO_AMOUNTS } from './tally.ts';
import type { WaitingCall } from './terms.ts';
import type { Answer, Successor, TreeCall } from './tree-call.ts';
import { momentOf, TreeView } from './tree-view.ts';
import { WaitingRoom } from './waiting-room.ts';

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

export type Ending = Pick<Settlement, 'outcome' | 'actual' | 'holdMs' | 'frozenUntilMs' | 'record'>;

const NEVER_SENT: Ending = { outcome: 'neverSent', actual: NO_AMOUNTS, holdMs: 0, frozenUntilMs: null };

/** A call that comes while the first connection is made waits for it this long. */
const CONNECT_WAIT_MS = 2000;

export class TreeSession implements Disposable {
  readonly #options: TreeSessionOptions;
  readonly #engine: LeaseEngine;
  readonly #view = new TreeView();
  readonly #leases = new Map<string, Lease>();
  readonly #outbox: Outbox;
  readonly #room: WaitingRoom;
  readonly #watch: StoreWatch;
  readonly #local: LocalStarts;
  readonly #pulse: Pulse;
  readonly #admissions: Admissions;
  #awaited: PromiseWithResolvers<void> | null = null;
  #nudge = Promise.withResolvers<void>();

  constructor(options: TreeSessionOptions) {
    const { clock, log, metrics, opened, owner } = options;
    this.#options = options;
    const leases = this.#leases;
    const view = this.#view;
    const local = new LocalStarts({ view, leases, clock, log, metrics });
    const watch = new StoreWatch({
      clock,
      probe: (signal) => this.#pulse.probe(signal),
      onBack: (downForMs) => local.back(downForMs),
    });
    const engine = meterEngine(opened.engine, { clock, metrics, store: watch });
    const outbox: Outbox = new Outbox({
      engine,
      log,
      metrics,
      register: (epoch) => registrar.register(epoch),
      introduce: (unheard) => registrar.putBack(unheard),
    });
    const room = new WaitingRoom({ engine, owner, clock, log, onOpened: () => this.#beatSoon() });
    const onMoved = (): void => {
      room.forgetTimes();
      room.allUnsure();
    };
    const registrar = new Registrar({ engine, owner, view, leases, outbox, log, onMoved });
    this.#engine = engine;
    this.#local = local;
    this.#watch = watch;
    this.#outbox = outbox;
    this.#room = room;
    const onLost = (lease: Lease): void => this.#lose(lease);
    this.#pulse = new Pulse({ engine, opened, owner, view, leases, room, registrar, store: watch, clock, log, onLost });
    const limit = { ms: CONNECT_WAIT_MS, what: 'connecting to Redis' };
    const connecting = withDeadline(clock, limit, (signal) => opened.ready(signal));
    const books = { view, leases, outbox, room, registrar, local, watch };
    this.#admissions = new Admissions({ ...books, engine, owner, clock, connecting, onNews: () => this.#wake() });
  }

  /** Resolves once Redis can be asked. */
  async connected(signal: AbortSignal): Promise<void> {
    await this.#options.opened.ready(signal);
  }

  /** Nothing is held, asked for or left to tell. */
  get idle(): boolean {
    return this.#admissions.underWay === 0 && !this.#hasBeats;
  }

  get #hasBeats(): boolean {
    return this.#leases.size > 0 || this.#outbox.size > 0 || this.#room.size > 0;
  }

  get beatIntervalMs(): number {
    return beatIntervalMs(this.#view.ttlMs);
  }

  /** How long a lease lives without a beat. */
  get ttlMs(): number {
    return this.#view.ttlMs;
  }

  waiting(): readonly WaitingCall[] {
    return this.#room.calls();
  }

  /** Resolves once there is something to beat or to deliver. */
  async busy(): Promise<void> {
    if (this.#hasBeats) return;
    this.#awaited ??= Promise.withResolvers<void>();
    await this.#awaited.promise;
  }

  /** Resolves when the next beat should not wait for its time. */
  async nudged(): Promise<void> {
    await this.#nudge.promise;
  }

  /**
   * Asks for a lease and waits for it as long as the call's patience lasts; registers first when Redis lost its memory.
   * Fails with `unavailable` when Redis cannot tell: the id is then cancelled as soon as it can, so that an unheard grant
   * cannot linger. Rejects as `Patience.wait` does.
   */
  async acquire(call: TreeCall): Promise<Answer> {
    return this.#admissions.acquire(call);
  }

  /** True: the first byte may go out now. False: the lease is gone. Fails with `unavailable` if only Redis could tell. */
  async start(lease: Lease, signal: AbortSignal, options: { readonly isStrict: boolean }): Promise<boolean> {
    const { clock } = this.#options;
    const rules = { isStrict: options.isStrict, beatMs: this.beatIntervalMs };
    let decision = decideStart(lease, this.#view.sync, momentOf(clock), rules);
    while (decision === 'claim') {
      let asked = momentOf(clock);
      lease.claimed = true;
      const isHeld = await askAgainWhenCut(this.#options, signal, () => {
        asked = momentOf(clock);
        return this.#engine.claim(refOf(lease), { confirm: options.isStrict }, signal);
      });
      if (isHeld) {
        decision = claimHolds(asked, momentOf(clock), this.#view.ttlMs) ? 'go' : 'claim';
      } else {
        this.#lose(lease);
        return false;
      }
      if (signal.aborted) return false;
    }
    if (lease.lost || lease.sentAtMs !== null || signal.aborted) return false;
    lease.sentAtMs = clock.monotonicMs();
    return true;
  }

  /**
   * Ends a lease. Never throws: what cannot be delivered now is delivered with a later beat. `successor`, else a call of
   * ours that waits for the same leaf, is asked for in the same trip (rule Q9).
   */
  async settle(lease: Lease, ending: Ending, successor: Successor | null): Promise<{ late: boolean }> {
    const settled = await this.#admissions.settle(lease, this.#close(lease, ending), successor);
    return { late: settled?.kind === 'settled' && settled.late };
  }

  /** Ends a lease whose call is asked for again under the same id, at the head of its flow (rule Q7). As `acquire` else. */
  async retry(lease: Lease, ending: Ending, call: TreeCall): Promise<Answer> {
    return this.#admissions.retry(lease, this.#close(lease, ending), call);
  }

  /** Gives back a lease that never sent anything. Never throws. */
  async cancel(lease: Lease): Promise<void> {
    const { id } = lease.request;
    // A cancellation refunds nothing of a claimed lease that has expired: it may have been used, for all Redis knows.
    if (lease.claimed) return void (await this.settle(lease, NEVER_SENT, null));
    this.#leases.delete(id);
    if (lease.isLocal) return this.#watch.tell();
    await this.#outbox.cancel(id);
  }

  /** Extends all leases and waits, delivers what is left to tell. False: Redis did not answer. Never throws. */
  async beat(signal: AbortSignal): Promise<boolean> {
    this.#nudge = Promise.withResolvers<void>();
    let answered = true;
    try {
      await this.#pulse.beat(signal);
      if (this.#local.needsLook) await this.#look(signal);
    } catch (error) {
      answered = isAnswer(error);
      this.#options.log.warn('lease.beatFailed', { code: AppError.from(error).code, leases: this.#leases.size });
      // Calls that wait in a Redis that is away may start without it.
      if (this.#local.mayStart(this.#watch.downForMs ?? 0)) this.#room.allUnsure();
    }
    await this.#outbox.flush(signal);
    return answered;
  }

  /** Its binding is another tree's now: whoever waits here has to ask there. */
  moved(): void {
    this.#admissions.moved();
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

  [Symbol.dispose](): void {
    this.#room[Symbol.dispose]();
    this.#watch[Symbol.dispose]();
  }

  #close(lease: Lease, ending: Ending): Settlement {
    const { id } = lease.request;
    this.#leases.delete(id);
    this.#local.ended(lease, ending.actual);
    if (lease.isLocal) this.#watch.tell();
    return { id, fence: lease.fence, ...ending, ...offsets(lease) };
  }

  async #look(signal: AbortSignal): Promise<void> {
    const tree = await this.#engine.snapshot(signal);
    if (tree !== null) this.#local.look(tree);
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

  #beatSoon(): void {
    this.#nudge.resolve();
  }

  #wake(): void {
    this.#awaited?.resolve();
    this.#awaited = null;
  }
}

/** What fails sooner than Redis has to answer was cut off with its connection; that long a fresh one is waited for. */
const CUT_MS = 1000;

/**
 * Asks once more when the connection was replaced meanwhile: that happens at once after a process stood still, for a
 * beat that was under way, and says nothing of Redis.
 */
async function askAgainWhenCut<T>(
  { clock, opened }: Pick<TreeSessionOptions, 'clock' | 'opened'>,
  signal: AbortSignal,
  ask: () => Promise<T>,
): Promise<T> {
  const askedMs = clock.monotonicMs();
  try {
    return await ask();
  } catch (error) {
    const isCut = clock.monotonicMs() - askedMs < CUT_MS && AppError.from(error).code === 'unavailable';
    if (!isCut || signal.aborted) throw error;
    const limit = { ms: CUT_MS, what: 'reconnecting to Redis', signal };
    const isBack = withDeadline(clock, limit, (bounded) => opened.ready(bounded));
    await isBack.catch(() => Promise.reject(error));
    return await ask();
  }
}
