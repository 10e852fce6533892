/** Admission: a call asks here for its lease, and waits here as long as its quota lets it. */
import { orAbort } from '../base/abort.ts';
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import { AppError, type Code } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { Log } from '../base/log.ts';
import type { SidecarSnapshot } from '../control/terms.ts';
import type { TreeSnapshot } from '../engine/terms.ts';
import {
  admitted,
  NOT_CONFIGURED,
  SHUTTING_DOWN,
  STOPPED,
  stoppedDenial,
  STORE_AWAY,
  unavailable,
} from './admission.ts';
import { waitOf } from './call-terms.ts';
import { Held } from './held-lease.ts';
import type { Lease } from './lease-state.ts';
import type { OpenEngine } from './metered-engine.ts';
import type { SidecarMetrics } from './metrics.ts';
import { Patience } from './patience.ts';
import { cutOverdue } from './runtime-limit.ts';
import { Sessions } from './sessions.ts';
import type { Admission, CallSpec, LeaseDesk, WaitingCall } from './terms.ts';
import type { Successor } from './tree-call.ts';
import type { Ending, TreeSession } from './tree-session.ts';
import { Turnstile } from './turnstile.ts';
import { type Asking, type Visit, Visits } from './visits.ts';

export interface LeaseDeskOptions {
  /** The snapshot in force; null before the first. */
  readonly snapshots: Cell<SidecarSnapshot | null>;
  /** Called once for each tree and Redis the snapshots name. */
  readonly openEngine: (snapshot: SidecarSnapshot) => OpenEngine;
  /** Names this process to Redis, such as the pod's uid. */
  readonly processId: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: SidecarMetrics;
}

/** Failures that are not the store's: the call itself is wrong, or we are. */
const CALLERS_FAULT: ReadonlySet<Code> = new Set<Code>(['invalid', 'conflict', 'internal']);

/** Disposing it stops the beats and closes the connections; `drain` first. */
export interface OpenDesk extends LeaseDesk, AsyncDisposable {
  /** Connects to the tree in force; resolves once Redis can be asked. Does nothing before the first snapshot. */
  prepare(signal: AbortSignal): Promise<void>;
  /** The tree in force as Redis has it; null: there is none yet. Fails with `unavailable` when Redis cannot be asked. */
  readTree(signal: AbortSignal): Promise<TreeSnapshot | null>;
}

export function createLeaseDesk(options: LeaseDeskOptions): OpenDesk {
  return new Desk(options);
}

class Desk implements OpenDesk {
  readonly #options: LeaseDeskOptions;
  readonly #sessions: Sessions;
  readonly #turnstile: Turnstile<SidecarSnapshot>;
  readonly #visits: Visits;
  readonly #held = new Map<string, Held>();
  readonly #stop = new AbortController();
  /** Ends the waits of now: all when the process ends, else those of a quota that is drained. */
  #waits = new AbortController();
  #isLeaving = false;
  readonly #cutting: Promise<void>;
  readonly #following: Promise<void>;
  #started: PromiseWithResolvers<void> | null = null;
  /** Calls that may yet bring a lease, or give one back. */
  readonly #asks = new Set<Promise<unknown>>();
  /** Admitted and not ended by their callers. */
  #using = 0;

  constructor(options: LeaseDeskOptions) {
    const { clock, log, snapshots } = options;
    this.#options = options;
    this.#sessions = new Sessions({ ...options, onLost: (lease) => this.#held.get(lease.request.id)?.lose() });
    this.#turnstile = new Turnstile(() => snapshots.value?.binding.perAgentConcurrency ?? null);
    const books = { sessions: this.#sessions, turnstile: this.#turnstile };
    const hold = (visit: Visit, asking: Asking, lease: Lease): Held => this.#hold(visit, asking, lease);
    this.#visits = new Visits({ ...options, ...books, hold });
    this.#cutting = cutOverdue(this.#held, { clock, log, started: () => this.#anyHeld() }, this.#stop.signal);
    this.#following = this.#follow(this.#stop.signal);
  }

  get inFlight(): number {
    return this.#turnstile.inside;
  }

  waiting(): readonly WaitingCall[] {
    return this.#sessions.all().flatMap((session) => session.waiting());
  }

  async admit(spec: CallSpec, signal: AbortSignal): Promise<Admission> {
    const admission = await this.#admit(spec, signal);
    const { metrics } = this.#options;
    metrics.verdict(
      admission.kind === 'denied' ? admission.reason : admission.kind === 'admitted' ? 'granted' : 'unavailable',
    );
    return admission;
  }

  async prepare(signal: AbortSignal): Promise<void> {
    const snapshot = this.#options.snapshots.value;
    if (snapshot !== null) await this.#sessions.of(snapshot).connected(signal);
  }

  async readTree(signal: AbortSignal): Promise<TreeSnapshot | null> {
    const snapshot = this.#options.snapshots.value;
    return snapshot === null ? null : this.#sessions.read(snapshot, signal);
  }

  async drain(signal: AbortSignal): Promise<void> {
    const sessions = this.#sessions.all();
    for (const session of sessions) session.hold();
    this.#leave();
    const held = [...this.#held.values()];
    // Callers that listen settle now, with the usage they saw; what is left is settled by its reservation.
    for (const each of held) each.abort(new AppError('unavailable', SHUTTING_DOWN));
    for (const each of held) each.abandon();
    await Promise.all(sessions.map((session) => session.flush(signal)));
    await orAbort(this.#unheard(), signal).catch(() => undefined);
    await Promise.all(this.#sessions.all().map((session) => session.flush(signal)));
    this.#options.log.info('lease.drained', { leases: held.length });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#leave();
    this.#stop.abort();
    this.#started?.resolve();
    await Promise.all([this.#cutting, this.#following]);
    await this.#sessions[Symbol.asyncDispose]();
  }

  /** Grants that have yet to come are given back then, and deliveries under way may yet fail. */
  async #unheard(): Promise<void> {
    await Promise.allSettled(this.#asks);
    await Promise.all(this.#sessions.all().map((session) => session.delivered()));
  }

  async #admit(spec: CallSpec, signal: AbortSignal): Promise<Admission> {
    signal.throwIfAborted();
    if (this.#isLeaving) return unavailable(SHUTTING_DOWN);
    const before = spec.id === undefined ? undefined : this.#held.get(spec.id);
    if (before !== undefined) return admitted(before);
    const snapshot = this.#options.snapshots.value;
    if (snapshot === null) return unavailable(NOT_CONFIGURED);
    if (snapshot.binding.drained) return stoppedDenial(snapshot);
    const patience = this.#patience(snapshot, spec, signal);
    const visit = { spec: { ...spec, id: spec.id ?? newId() }, patience, attempts: 0 };
    return this.#concluded(visit, this.#visits.admit(snapshot, visit));
  }

  #patience({ binding }: SidecarSnapshot, { claims }: CallSpec, signal: AbortSignal): Patience {
    const { clock, metrics } = this.#options;
    const wait = waitOf(binding, claims?.maxWaitMs);
    return new Patience({ clock, wait, signal, leaving: this.#waits.signal, onWait: () => metrics.waiting.inc() });
  }

  /** Turns failures into what the caller is told, and notes how long it waited. */
  async #concluded({ patience }: Visit, asked: Promise<Admission>): Promise<Admission> {
    let admission: Admission | null = null;
    this.#asks.add(asked);
    try {
      admission = await asked;
    } catch (error) {
      if (patience.callerLeft) throw error;
      const failure = AppError.from(error);
      if (CALLERS_FAULT.has(failure.code)) throw failure;
      this.#options.log.debug('lease.unavailable', { code: failure.code, cause: failure.message });
      admission = this.#refusal();
    } finally {
      this.#asks.delete(asked);
      this.#noteWait(patience, admission);
    }
    return admission;
  }

  /** Why nothing could be asked, or was waited for in vain. */
  #refusal(): Admission {
    if (this.#isLeaving) return unavailable(SHUTTING_DOWN);
    const snapshot = this.#options.snapshots.value;
    if (snapshot === null) return unavailable(NOT_CONFIGURED);
    return snapshot.binding.drained ? stoppedDenial(snapshot) : unavailable(STORE_AWAY);
  }

  #noteWait(patience: Patience, admission: Admission | null): void {
    const { metrics } = this.#options;
    const waitedMs = patience.endWait();
    if (waitedMs === null) return;
    metrics.waiting.dec();
    const ended = admission === null ? 'left' : admission.kind === 'admitted' ? 'granted' : admission.kind;
    metrics.waited(ended, waitedMs);
  }

  #hold({ spec, patience, attempts }: Visit, { session, state, call }: Asking, lease: Lease): Held {
    const { clock, log, metrics } = this.#options;
    const held = new Held({
      session,
      lease,
      snapshot: state,
      spec,
      patience,
      attempts: attempts + 1,
      hasParked: call.hasParked,
      admittedAtMs: clock.nowMs(),
      clock,
      log,
      metrics,
      onEnd: (carrier) => this.#endUse(carrier),
      onGone: ({ id }) => void this.#held.delete(id),
      onAgain: (refused, ending) => this.#again(refused, ending),
    });
    this.#held.set(held.id, held);
    metrics.inFlight.set(++this.#using);
    this.#started?.resolve();
    this.#started = null;
    return held;
  }

  /** A caller has ended its lease. */
  #endUse(carrier: TreeSession | null): Successor | null {
    this.#options.metrics.inFlight.set(--this.#using);
    return this.#turnstile.leave(carrier);
  }

  async #again(refused: Held, ending: Ending): Promise<Held | null> {
    this.#options.metrics.inFlight.set(--this.#using);
    const { spec, patience, attempts } = refused.options;
    const visit = { spec, patience, attempts };
    const admission = await this.#concluded(visit, this.#visits.again(visit, refused, ending));
    return admission.kind === 'admitted' ? (this.#held.get(admission.lease.id) ?? null) : null;
  }

  /** The process ends. */
  #leave(): void {
    this.#isLeaving = true;
    this.#waits.abort(new AppError('unavailable', SHUTTING_DOWN));
  }

  /** What a new snapshot means for calls that wait or run: without this they would learn of it with the next call only. */
  async #follow(signal: AbortSignal): Promise<void> {
    const { snapshots, log } = this.#options;
    while (!signal.aborted) {
      const snapshot = await snapshots.next(signal).catch(() => null);
      if (snapshot === null) continue;
      this.#turnstile.refresh();
      this.#sessions.renew(snapshot);
      if (snapshot.binding.drained) this.#endAll(new AppError('unavailable', STOPPED, { transient: false }));
      try {
        // Those that wait in a tree that is theirs no more ask in the new one.
        if (this.#asks.size > 0) this.#sessions.of(snapshot);
      } catch (error) {
        log.debug('lease.unavailable', { code: AppError.from(error).code });
      }
    }
  }

  /** Gives up all waits and cuts what runs; a call that comes later is looked at anew. */
  #endAll(reason: AppError): void {
    const { log } = this.#options;
    const held = [...this.#held.values()];
    log.warn('lease.ended', { leases: held.length, asking: this.#asks.size, reason: reason.message });
    this.#waits.abort(reason);
    this.#waits = new AbortController();
    for (const each of held) each.abort(reason);
  }

  async #anyHeld(): Promise<void> {
    if (this.#held.size > 0 || this.#stop.signal.aborted) return;
    this.#started ??= Promise.withResolvers<void>();
    await this.#started.promise;
  }
}
