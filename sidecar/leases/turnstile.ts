/** The pod's own limit of calls in flight: those beyond it wait here, in the order they came. */
import type { Patience } from './patience.ts';
import type { Answer, Successor, TreeCall } from './tree-call.ts';
import type { TreeSession } from './tree-session.ts';

/** A call that could be asked for right now. */
export interface Prepared<S> {
  readonly session: TreeSession;
  readonly call: TreeCall;
  /** Whatever its caller needs to go on. */
  readonly state: S;
}

/** Its ask went out with another call's settlement. */
export interface Carried<S> extends Prepared<S> {
  readonly answer: Promise<Answer>;
}

/** What came of waiting for a turn. `carried` null: the call has to ask for itself. */
export type Turn<S> = { readonly kind: 'in'; readonly carried: Carried<S> | null } | { readonly kind: 'late' | 'full' };

interface Entry<S> {
  readonly patience: Patience;
  readonly prepare: () => Prepared<S>;
  readonly turn: PromiseWithResolvers<Carried<S> | null>;
}

/** More would only wait to be refused. */
export const LONGEST_QUEUE = 1000;

export class Turnstile<S> {
  readonly #allowed: () => number | null;
  readonly #queue = new Set<Entry<S>>();
  #inside = 0;

  /** `allowed`: null when there is no limit. */
  constructor(allowed: () => number | null) {
    this.#allowed = allowed;
  }

  /** Calls that were let in and have not left. */
  get inside(): number {
    return this.#inside;
  }

  get waiting(): number {
    return this.#queue.size;
  }

  /** Lets a call in if there is room and nobody waits. */
  tryEnter(): boolean {
    if (this.#queue.size > 0 || !this.#hasRoom) return false;
    this.#inside += 1;
    return true;
  }

  /**
   * Waits for the call's turn. Where another call's lease ends its ask may have gone out already. Rejects as
   * `Patience.wait` does.
   */
  async enter(prepare: () => Prepared<S>, patience: Patience): Promise<Turn<S>> {
    if (this.#queue.size >= LONGEST_QUEUE) return { kind: 'full' };
    const entry: Entry<S> = { patience, prepare, turn: Promise.withResolvers() };
    this.#queue.add(entry);
    const came = entry.turn.promise.then((carried) => ({ kind: 'in', carried }) as const);
    const turn = await patience.wait(came).catch((error: unknown) => {
      this.#abandon(entry);
      throw error;
    });
    if (turn !== null) return turn;
    this.#abandon(entry);
    return { kind: 'late' };
  }

  /** The limit may have been raised. */
  refresh(): void {
    this.#letIn(null);
  }

  /** A call is over. What is returned, if anything, is asked for together with its settlement by `session`. */
  leave(session: TreeSession | null): Successor | null {
    this.#inside -= 1;
    return this.#letIn(session);
  }

  #letIn(session: TreeSession | null): Successor | null {
    let successor: Successor | null = null;
    for (const entry of this.#queue) {
      if (!this.#hasRoom) break;
      this.#queue.delete(entry);
      if (entry.patience.isOver) continue;
      this.#inside += 1;
      const prepared: Prepared<S> | null = session === null || successor !== null ? null : prepare(entry);
      if (prepared === null || prepared.session !== session) entry.turn.resolve(null);
      else successor = { call: prepared.call, answered: (answer) => entry.turn.resolve({ ...prepared, answer }) };
    }
    return successor;
  }

  get #hasRoom(): boolean {
    const allowed = this.#allowed();
    return allowed === null || this.#inside < allowed;
  }

  /** Its caller has left; a turn that came all the same is given back. */
  #abandon(entry: Entry<S>): void {
    if (!this.#queue.delete(entry)) void this.#giveBack(entry.turn.promise);
  }

  async #giveBack(turn: Promise<Carried<S> | null>): Promise<void> {
    const carried = await turn;
    const answer = await carried?.answer.catch(() => null);
    if (carried !== null && answer?.kind === 'held') void carried.session.cancel(answer.lease);
    this.leave(null);
  }
}

/** Null: it cannot be asked for; its caller finds out why. */
function prepare<S>(entry: Entry<S>): Prepared<S> | null {
  try {
    return entry.prepare();
  } catch {
    return null;
  }
}
