/** One agent behind a sidecar: makes a call, waits for its slot, sends it, and says how it ended, as sidecar/proxy does. */
import { AppError } from '#sidecar/base/errors.ts';
import type { Outcome } from '#sidecar/engine/terms.ts';
import type { HeldLease, LeaseDesk, Refused } from '#sidecar/leases/terms.ts';
import type { Books } from './books.ts';
import type { Party } from './party.ts';
import type { Random } from './random.ts';
import { MODELS } from './tree.ts';
import type { Trace } from './trace.ts';
import type { Vendor } from './vendor.ts';
import { keyOf, type CallFact, type Watch } from './watch.ts';

export interface Habits {
  /** Between two calls, on average. */
  readonly thinkMs: number;
  /** How long a call takes at the vendor, on average and at most. */
  readonly callMs: number;
  readonly longestMs: number;
  /** Callers that go away while they wait, and while they are served. */
  readonly leaves: number;
  readonly longestWaitMs: number;
}

export interface AgentOptions {
  readonly desk: LeaseDesk;
  readonly party: Party;
  readonly random: Random;
  readonly vendor: Vendor;
  readonly watch: Watch;
  readonly books: Books;
  readonly trace: Trace;
  readonly habits: Habits;
  /** Where the vendor counts a call that no grant tells of. */
  readonly nodesOf: (model: string) => readonly string[];
  /** Its call is sent: what dies with this process. */
  readonly onSent: (call: CallFact, close: () => void) => void;
  readonly asks: Asks;
}

/** Calls that have asked and were not answered. */
export interface Asks {
  began(ask: Ask): void;
  answered(ask: Ask, how: string): void;
  died(sidecar: string): void;
}

export interface Ask {
  readonly sidecar: string;
  readonly model: string;
  readonly waitMs: number;
  /** On its own clock, and how long it had stood still by then. */
  readonly sinceMs: number;
  readonly stoppedMs: number;
}

/** How one try ended. */
interface Ended {
  readonly outcome: Outcome;
  readonly cutByUs: boolean;
}

const ESTIMATE = { inputTokens: 1000, cachedTokens: 0, outputTokens: 500 };
const REFUSED: Refused = { outcome: 'refusedConcurrency', failure: { class: 'Concurrency', resetAtMs: null } };

export class Agent {
  readonly #options: AgentOptions;

  constructor(options: AgentOptions) {
    this.#options = options;
  }

  /** Makes calls until told to stop. */
  async work(stop: AbortSignal): Promise<void> {
    const { party, random, habits } = this.#options;
    while (!stop.aborted) {
      await party.clock.sleep(random.exponential(habits.thinkMs), stop).catch(() => undefined);
      if (!stop.aborted) await this.#call();
    }
  }

  async #call(): Promise<void> {
    const { desk, party, random, habits, asks, trace } = this.#options;
    const model = random.pick(MODELS);
    const gone = new AbortController();
    const over = new AbortController();
    if (random.chance(habits.leaves)) this.#leaveSometime(gone, over.signal);
    const waitMs = random.pick([0.1, 0.5, 1]) * habits.longestWaitMs;
    const ask = { sidecar: party.name, model, waitMs, sinceMs: party.clock.monotonicMs(), stoppedMs: party.stoppedMs };
    asks.began(ask);
    let how = 'left';
    try {
      const claims = { maxWaitMs: waitMs, class: random.pick(['High', 'Normal', 'Low'] as const) };
      const admission = await desk.admit({ model, estimate: ESTIMATE, claims, place: () => model }, gone.signal);
      how = admission.kind === 'denied' ? `denied ${admission.reason} ${admission.node}` : admission.kind;
      asks.answered(ask, how);
      if (admission.kind === 'admitted') await this.#use(admission.lease, model, gone.signal);
    } catch (error) {
      if (how === 'left') asks.answered(ask, how);
      if (!gone.signal.aborted) trace.note(party.name, `call failed: ${AppError.from(error).message}`);
    } finally {
      over.abort();
    }
  }

  #leaveSometime(gone: AbortController, over: AbortSignal): void {
    const { party, random, habits } = this.#options;
    void party.clock.sleep(random.exponential(habits.callMs), over).then(
      () => gone.abort(new AppError('cancelled', 'the client went away')),
      () => undefined,
    );
  }

  /** Sends the call until it is answered, or the vendor's refusal is final. */
  async #use(first: HeldLease, model: string, gone: AbortSignal): Promise<void> {
    const { books, party } = this.#options;
    let lease: HeldLease | null = first;
    while (lease !== null) {
      const key = this.#keyOf(lease);
      if (!(await this.#starts(lease, key, gone))) return;
      const { outcome, cutByUs } = await this.#send(lease, model, gone);
      const isRefused = outcome === 'refusedConcurrency';
      books.note(key, party.name, isRefused || outcome === 'neverSent' ? 'nothing' : 'one');
      if (!isRefused) {
        void lease.settle({ outcome, usage: ESTIMATE, responseModel: null, cutByUs });
        return;
      }
      lease = await lease.again(REFUSED);
    }
  }

  async #starts(lease: HeldLease, key: string, gone: AbortSignal): Promise<boolean> {
    const { books, party, watch } = this.#options;
    let started = false;
    try {
      started = await lease.start(gone);
    } catch (error) {
      if (gone.aborted) throw error;
    } finally {
      if (!started) {
        books.note(key, party.name, 'nothing');
        watch.dropped(lease.id);
        await lease.cancel();
      }
    }
    return started;
  }

  #send(lease: HeldLease, model: string, gone: AbortSignal): Promise<Ended> {
    const { party, vendor, watch, random, habits, onSent, nodesOf } = this.#options;
    const { promise, resolve } = Promise.withResolvers<Ended>();
    const call = watch.sent(lease.id, { sidecar: party.name, nodes: nodesOf(model) });
    const lastByteMs = Math.min(habits.longestMs, random.exponential(habits.callMs));
    const plan = { model, firstByteMs: lastByteMs * random.unit(), lastByteMs };
    const tell = (job: () => void): void => party.deliver(job);
    const sent = vendor.send(plan, {
      accepted: () => watch.accepted(call),
      firstByte: () => {
        watch.answered(call);
        tell(() => lease.noteFirstByte());
      },
      ended: (how) => {
        watch.ended(call);
        if (how === 'refused') tell(() => resolve({ outcome: 'refusedConcurrency', cutByUs: false }));
        if (how === 'answered') tell(() => resolve({ outcome: 'completed', cutByUs: false }));
      },
    });
    onSent(call, () => sent.close());
    const cut = (): void => {
      watch.cut(call);
      sent.close();
      resolve({ outcome: 'brokeMidStream', cutByUs: true });
    };
    for (const signal of [lease.signal, gone]) {
      if (signal.aborted) cut();
      else signal.addEventListener('abort', cut, { once: true });
    }
    return promise;
  }

  #keyOf({ id }: HeldLease): string {
    const grant = this.#options.watch.grants.get(id);
    return grant === undefined ? `local ${id}` : keyOf(grant);
  }
}
