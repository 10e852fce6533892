/** The way of one call to its lease: past the pod's own limit, to the tree of the snapshot in force, and there again. */
import { withDeadline } from '../base/abort.ts';
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { Log } from '../base/log.ts';
import type { SidecarSnapshot } from '../control/terms.ts';
import {
  admitted,
  CHANGING,
  denialOf,
  NOT_CONFIGURED,
  perAgentDenial,
  perAgentQueueFull,
  unavailable,
} from './admission.ts';
import { askOf } from './call-terms.ts';
import type { Held } from './held-lease.ts';
import type { Lease } from './lease-state.ts';
import type { Patience } from './patience.ts';
import type { Sessions } from './sessions.ts';
import type { Admission, CallSpec } from './terms.ts';
import type { Answer } from './tree-call.ts';
import type { Ending } from './tree-session.ts';
import type { Prepared, Turnstile } from './turnstile.ts';

/** A call and how far it has come. */
export interface Visit {
  readonly spec: CallSpec;
  readonly patience: Patience;
  /** Times it was admitted before. */
  readonly attempts: number;
}

/** Asked under a snapshot. */
export type Asking = Prepared<SidecarSnapshot>;
type Pending = Asking & { readonly answer: Promise<Answer> };

export interface VisitsOptions {
  readonly snapshots: Cell<SidecarSnapshot | null>;
  readonly sessions: Sessions;
  readonly turnstile: Turnstile<SidecarSnapshot>;
  readonly clock: Clock;
  readonly log: Log;
  /** Enters a granted lease into the desk's books. */
  readonly hold: (visit: Visit, asking: Asking, lease: Lease) => Held;
}

/** How long a call waits for the snapshot of a tree that has changed in Redis already (rule W1). */
const STALE_WAIT_MS = 3000;
/** Within that time Redis is asked again this often, in case it is the one behind. */
const STALE_POLL_MS = 500;

export class Visits {
  readonly #options: VisitsOptions;

  constructor(options: VisitsOptions) {
    this.#options = options;
  }

  /** From outside, under the snapshot `first`. */
  async admit(first: SidecarSnapshot, visit: Visit): Promise<Admission> {
    const { turnstile } = this.#options;
    if (turnstile.tryEnter()) return this.#inside(visit, this.#ask(first, visit));
    if (visit.patience.remainingMs === 0) return perAgentDenial(first, turnstile.inside);
    const turn = await turnstile.enter(() => this.#prepare(this.#snapshot(), visit), visit.patience);
    switch (turn.kind) {
      case 'in':
        return this.#inside(visit, turn.carried);
      case 'late':
        return perAgentDenial(first, turnstile.inside);
      case 'full':
        return perAgentQueueFull(first, turnstile.waiting);
    }
  }

  /** A call whose lease ends, and which the vendor refused: it is still inside. */
  async again(visit: Visit, { options, id }: Held, ending: Ending): Promise<Admission> {
    const { session, lease } = options;
    const state = this.#options.snapshots.value;
    if (state === null || this.#options.sessions.of(state) !== session) {
      void session.settle(lease, ending, null);
      return this.#inside({ ...visit, spec: { ...visit.spec, id: newId() } }, null);
    }
    const { call } = this.#prepare(state, { ...visit, spec: { ...visit.spec, id } });
    return this.#inside(visit, { session, call, state, answer: session.retry(lease, ending, call) });
  }

  /** The call has its place among those of the pod, and leaves it if it is not admitted. `first` null: nothing was asked. */
  async #inside(visit: Visit, first: Pending | null): Promise<Admission> {
    let admission: Admission | null = null;
    try {
      admission = await this.#follow(visit, first);
      return admission;
    } finally {
      if (admission?.kind !== 'admitted') this.#options.turnstile.leave(null);
    }
  }

  async #follow(visit: Visit, first: Pending | null): Promise<Admission> {
    const { clock, snapshots, hold } = this.#options;
    const asking = await this.#answered(visit, first);
    const answer = await asking.answer;
    switch (answer.kind) {
      case 'held':
        if (!visit.patience.isOver && snapshots.value !== null) return admitted(hold(visit, asking, answer.lease));
        // The caller left while Redis was asked: what was granted must not linger.
        await asking.session.cancel(answer.lease);
        visit.patience.throwIfOver();
        return unavailable(NOT_CONFIGURED);
      case 'denied':
        return denialOf(answer, clock.nowMs());
      case 'stale':
        return unavailable(CHANGING);
      case 'done':
        throw new AppError('conflict', 'this id was used before', { transient: false });
    }
  }

  /** Asks until the answer is not `stale`, or time is up. */
  async #answered(visit: Visit, first: Pending | null): Promise<Pending> {
    const { clock, snapshots, log } = this.#options;
    let giveUpAtMs = Number.POSITIVE_INFINITY;
    for (let pending = first ?? this.#ask(this.#snapshot(), visit); ; pending = this.#ask(this.#snapshot(), visit)) {
      const answer = await pending.answer;
      const nowMs = clock.monotonicMs();
      if (answer.kind !== 'stale' || visit.patience.isOver || nowMs >= giveUpAtMs) return pending;
      giveUpAtMs = Math.min(giveUpAtMs, nowMs + STALE_WAIT_MS);
      log.info('lease.stale', { known: pending.state.revision.generation, generation: answer.generation });
      if (snapshots.value === pending.state) await this.#nextSnapshot(visit.patience.signal);
    }
  }

  async #nextSnapshot(signal: AbortSignal): Promise<void> {
    const { clock, snapshots } = this.#options;
    const limit = { ms: STALE_POLL_MS, what: 'the next snapshot', signal };
    await withDeadline(clock, limit, (bounded) => snapshots.next(bounded)).catch(() => signal.throwIfAborted());
  }

  #ask(snapshot: SidecarSnapshot, visit: Visit): Pending {
    const asking = this.#prepare(snapshot, visit);
    return { ...asking, answer: asking.session.acquire(asking.call) };
  }

  #prepare(snapshot: SidecarSnapshot, { spec, patience }: Visit): Asking {
    const { clock, sessions } = this.#options;
    const at = { atMs: clock.nowMs(), mayWait: patience.remainingMs > 0 };
    const ask = askOf(snapshot, { ...spec, id: spec.id ?? newId() }, at);
    const { binding } = snapshot;
    const call = { ask, patience, binding, askedAtMs: clock.monotonicMs(), hasParked: false };
    return { session: sessions.of(snapshot), call, state: snapshot };
  }

  #snapshot(): SidecarSnapshot {
    const { value } = this.#options.snapshots;
    if (value === null) throw new AppError('unavailable', NOT_CONFIGURED);
    return value;
  }
}
