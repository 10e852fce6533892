/** Admission: a call asks here for its lease, and learns at once whether it may go. */
import { amountsOf } from '../catalog/amounts.ts';
import { route } from '../catalog/route.ts';
import { orAbort, withDeadline } from '../base/abort.ts';
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import { AppError, type Code } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { Log } from '../base/log.ts';
import type { SidecarSnapshot } from '../control/terms.ts';
import type { TreeSnapshot } from '../engine/terms.ts';
import { Held } from './held-lease.ts';
import type { OpenEngine } from './metered-engine.ts';
import type { SidecarMetrics } from './metrics.ts';
import { cutOverdue } from './runtime-limit.ts';
import { Sessions } from './sessions.ts';
import type { Admission, CallSpec, Denial, LeaseDesk } from './terms.ts';
import type { Answer, TreeSession } from './tree-session.ts';

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

/** How long a call waits for the snapshot of a tree that has changed in Redis already (rule W1). */
const STALE_WAIT_MS = 3000;
/** Within that time Redis is asked again this often, in case it is the one behind. */
const STALE_POLL_MS = 500;

/** Failures that are not the store's: the call itself is wrong, or we are. */
const CALLERS_FAULT: ReadonlySet<Code> = new Set<Code>(['invalid', 'conflict', 'internal']);

type Answered = { readonly answer: Answer; readonly snapshot: SidecarSnapshot; readonly session: TreeSession };

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
  readonly #held = new Map<string, Held>();
  readonly #stop = new AbortController();
  readonly #cutting: Promise<void>;
  #started: PromiseWithResolvers<void> | null = null;
  #asking = 0;
  readonly #asks = new Set<Promise<Admission>>();
  /** Admitted and not ended by their callers. */
  #using = 0;
  #draining = false;

  constructor(options: LeaseDeskOptions) {
    const { clock, log } = options;
    this.#options = options;
    this.#sessions = new Sessions({ ...options, onLost: (lease) => this.#held.get(lease.request.id)?.lose() });
    this.#cutting = cutOverdue(this.#held, { clock, log, started: () => this.#anyHeld() }, this.#stop.signal);
  }

  get inFlight(): number {
    return this.#asking + this.#using;
  }

  async admit(call: CallSpec, signal: AbortSignal): Promise<Admission> {
    const admission = await this.#admit(call, signal);
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
    this.#draining = true;
    const sessions = this.#sessions.all();
    for (const session of sessions) session.hold();
    const held = [...this.#held.values()];
    // Callers that listen settle now, with the usage they saw; what is left is settled by its reservation.
    for (const each of held) each.abort(new AppError('unavailable', 'the sidecar is shutting down'));
    for (const each of held) each.abandon();
    await Promise.all(sessions.map((session) => session.flush(signal)));
    await orAbort(this.#unheard(), signal).catch(() => undefined);
    await Promise.all(this.#sessions.all().map((session) => session.flush(signal)));
    this.#options.log.info('lease.drained', { leases: held.length });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#draining = true;
    this.#stop.abort();
    this.#started?.resolve();
    await this.#cutting;
    await this.#sessions[Symbol.asyncDispose]();
  }

  /** Grants that have yet to come are given back then, and deliveries under way may yet fail. */
  async #unheard(): Promise<void> {
    await Promise.allSettled(this.#asks);
    await Promise.all(this.#sessions.all().map((session) => session.delivered()));
  }

  async #admit(call: CallSpec, signal: AbortSignal): Promise<Admission> {
    signal.throwIfAborted();
    if (this.#draining) return unavailable('the sidecar is shutting down');
    const before = call.id === undefined ? undefined : this.#held.get(call.id);
    if (before !== undefined) return { kind: 'admitted', lease: before };
    const snapshot = this.#options.snapshots.value;
    if (snapshot === null) return unavailable('no configuration of the operator is in force');
    const allowed = snapshot.binding.perAgentConcurrency;
    if (allowed !== null && this.inFlight >= allowed) return perAgentDenial(snapshot, allowed, this.inFlight);
    const asked = this.#ask(snapshot, call, signal);
    this.#asks.add(asked);
    try {
      return await asked;
    } catch (error) {
      if (signal.aborted) throw error;
      const failure = AppError.from(error);
      if (CALLERS_FAULT.has(failure.code)) throw failure;
      this.#options.log.debug('lease.unavailable', { code: failure.code, cause: failure.message });
      return unavailable('the quota store cannot be asked at the moment');
    } finally {
      this.#asks.delete(asked);
    }
  }

  async #ask(first: SidecarSnapshot, call: CallSpec, signal: AbortSignal): Promise<Admission> {
    let answered: Answered;
    this.#asking += 1;
    try {
      answered = await this.#acquire(first, { ...call, id: call.id ?? newId() }, signal);
    } finally {
      this.#asking -= 1;
    }
    const { answer, snapshot, session } = answered;
    switch (answer.kind) {
      case 'held': {
        const held = this.#hold(answer.lease, { snapshot, session, model: call.model });
        if (!signal.aborted && !this.#draining) return { kind: 'admitted', lease: held };
        // The caller left while Redis was asked: what was granted must not linger.
        await held.cancel();
        signal.throwIfAborted();
        return unavailable('the sidecar is shutting down');
      }
      case 'denied':
        return this.#denial(answer);
      case 'stale':
        return unavailable('the configuration of this quota is changing');
      case 'done':
        throw new AppError('conflict', 'this id was used before', { transient: false });
    }
  }

  /** Asks until the answer is not `stale`, or time is up. */
  async #acquire(first: SidecarSnapshot, call: CallSpec & { id: string }, signal: AbortSignal): Promise<Answered> {
    const { clock, snapshots, log } = this.#options;
    const giveUpAtMs = clock.monotonicMs() + STALE_WAIT_MS;
    for (let snapshot = first; ; snapshot = snapshots.value ?? snapshot) {
      const session = this.#sessions.of(snapshot);
      const answer = await session.acquire(this.#request(snapshot, call));
      const giveUp = this.#draining || clock.monotonicMs() >= giveUpAtMs;
      if (answer.kind !== 'stale' || giveUp) return { answer, snapshot, session };
      log.info('lease.stale', { known: snapshot.revision.generation, generation: answer.generation });
      if (snapshots.value === snapshot) await this.#nextSnapshot(signal);
    }
  }

  async #nextSnapshot(signal: AbortSignal): Promise<void> {
    const { clock, snapshots } = this.#options;
    const limit = { ms: STALE_POLL_MS, what: 'the next snapshot', signal };
    await withDeadline(clock, limit, (bounded) => snapshots.next(bounded)).catch(() => signal.throwIfAborted());
  }

  #request({ binding, catalog, revision }: SidecarSnapshot, call: CallSpec & { id: string }) {
    const { model } = route(catalog, call.model);
    const priced = { model, usage: call.estimate, atMs: this.#options.clock.nowMs(), currency: binding.currency };
    return {
      id: call.id,
      leaf: binding.leaf,
      model,
      generation: revision.generation,
      reserve: amountsOf(catalog, priced),
      maxRuntimeMs: binding.maxRuntimeMs,
    };
  }

  #hold(
    lease: Extract<Answer, { kind: 'held' }>['lease'],
    of: { snapshot: SidecarSnapshot; session: TreeSession; model: string },
  ): Held {
    const { clock, log, metrics } = this.#options;
    const held = new Held({
      ...of,
      lease,
      admittedAtMs: clock.nowMs(),
      clock,
      log,
      onEnd: () => metrics.inFlight.set(--this.#using),
      onGone: ({ id }) => void this.#held.delete(id),
    });
    this.#held.set(held.id, held);
    metrics.inFlight.set(++this.#using);
    this.#started?.resolve();
    this.#started = null;
    return held;
  }

  #denial(verdict: Extract<Answer, { kind: 'denied' }>): Denial {
    const { reason, node, limit, used, amount, retryAtMs, serverNowMs } = verdict;
    const localMs = retryAtMs === null ? null : this.#options.clock.nowMs() + (retryAtMs - serverNowMs);
    return { kind: 'denied', reason, node, limit, used, amount, retryAtMs: localMs };
  }

  async #anyHeld(): Promise<void> {
    if (this.#held.size > 0 || this.#stop.signal.aborted) return;
    this.#started ??= Promise.withResolvers<void>();
    await this.#started.promise;
  }
}

function unavailable(message: string): Admission {
  return { kind: 'unavailable', message };
}

function perAgentDenial({ binding }: SidecarSnapshot, amount: number, used: number): Denial {
  return {
    kind: 'denied',
    reason: 'PerAgent',
    node: binding.leaf,
    limit: 'per-agent',
    used,
    amount,
    retryAtMs: null,
  };
}
