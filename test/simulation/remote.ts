/** The engine's port over the simulated network: a connection that breaks, times out, comes back and sends again. */
import { orAbort } from '#sidecar/base/abort.ts';
import { AppError } from '#sidecar/base/errors.ts';
import type { Notice } from '#sidecar/engine/port.ts';
import { storeError } from '#sidecar/engine/redis-errors.ts';
import type { LeaseEngine, OpenEngine } from '#sidecar/leases/metered-engine.ts';
import { Dialer } from './dialer.ts';
import type { Link } from './link.ts';
import * as operations from './operations.ts';
import type { Party } from './party.ts';
import type { Random } from './random.ts';
import type { Push } from './server.ts';
import type { Asked, Store } from './store.ts';
import type { Trace } from './trace.ts';
import type { Wire } from './wire.ts';

export interface RemoteOptions {
  readonly party: Party;
  readonly link: Link;
  readonly store: Store;
  readonly random: Random;
  readonly trace: Trace;
}

interface Question {
  /** Does the work at the server. */
  readonly carryOut: (wire: Wire) => void;
  readonly fail: (error: Error) => void;
}

interface Teller<T> {
  /** Somebody still waits for the answer. */
  readonly isOpen: () => boolean;
  readonly confirm: boolean;
  readonly resolve: (answer: T) => void;
  readonly reject: (error: Error) => void;
}

interface Subscriber {
  readonly owner: string;
  readonly take: (push: Push) => void;
  readonly opened: () => void;
}

const COMMAND_TIMEOUT_MS = 2000;
const CONFIRM_WITHIN_MS = 500;
const TRY_AGAIN_MS = 50;

export class RemoteEngine implements OpenEngine {
  readonly engine: LeaseEngine;
  readonly #options: RemoteOptions;
  readonly #dialer: Dialer;
  readonly #questions = new Set<Question>();
  #subscriber: Subscriber | null = null;
  /** What `client.ts` remembers. */
  #epoch: number | null = null;

  constructor(options: RemoteOptions) {
    this.#options = options;
    this.#dialer = new Dialer(options, {
      opened: (wire) => this.#opened(wire),
      failed: () => this.#fail('Redis cannot be reached'),
      heard: (push) => this.#subscriber?.take(push),
    });
    this.engine = this.#port();
  }

  /** Nobody has a password here. */
  authenticate(): void {}

  ready(signal: AbortSignal): Promise<void> {
    return this.#dialer.ready(signal);
  }

  reconnect(signal: AbortSignal): Promise<void> {
    return this.#dialer.redial(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#dialer[Symbol.dispose]();
    this.#fail('the connection is closed');
  }

  /** The same, with another face. */
  wrapped(wrap: (engine: LeaseEngine) => LeaseEngine): OpenEngine {
    return {
      engine: wrap(this.engine),
      // Nobody checks who is at the other end.
      authenticate: () => undefined,
      ready: (signal) => this.ready(signal),
      reconnect: (signal) => this.reconnect(signal),
      [Symbol.asyncDispose]: () => this[Symbol.asyncDispose](),
    };
  }

  /** Its process has died. */
  vanish(): void {
    this.#dialer.wire?.hangUp();
  }

  #port(): LeaseEngine {
    return {
      acquire: async (request, signal) => {
        const verdict = await this.#ask(operations.acquire(request), signal);
        if (verdict.kind === 'granted' || verdict.kind === 'queued') this.#learn(verdict.epoch);
        return verdict;
      },
      claim: (lease, { confirm = false } = {}, signal) => this.#ask(operations.claim(lease), signal, confirm),
      settle: (all, signal) => this.#ask(operations.settle(all, this.#epoch), signal),
      swap: async (settlement, next, signal) => {
        const swapped = await this.#ask(operations.swap(settlement, next, this.#epoch), signal);
        const { verdict } = swapped;
        if (verdict.kind === 'granted' || verdict.kind === 'queued') this.#learn(verdict.epoch);
        return swapped;
      },
      cancel: (id, { keepPlace = false } = {}, signal) => this.#ask(operations.cancel(id, keepPlace), signal),
      tick: (signal) => this.#ask(operations.tick(), signal),
      beat: async (request, signal) => {
        const reply = await this.#ask(operations.beat(request), signal);
        if (reply.kind === 'alive') this.#learn(reply.epoch);
        return reply;
      },
      register: async ({ owner, leases, disclaimed }, signal) => {
        let { epoch } = await this.#ask(operations.register({ owner, leases, disclaimed: [] }), signal);
        if (disclaimed.length > 0)
          ({ epoch } = await this.#ask(operations.register({ owner, leases: [], disclaimed }), signal));
        this.#learn(epoch);
        return { epoch };
      },
      snapshot: (signal) => this.#ask({ name: 'snapshot', work: operations.snapshotOf }, signal),
      notices: (owner, signal, opened = () => undefined) => this.#notices(owner, signal, opened),
    };
  }

  #learn(epoch: number): void {
    this.#epoch = Math.max(this.#epoch ?? 0, epoch);
  }

  async #ask<T>(asked: Asked<T>, signal?: AbortSignal, confirm = false): Promise<T> {
    const { wire } = this.#dialer;
    if (wire === null) throw new AppError('unavailable', 'there is no connection to Redis');
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const question: Question = {
      carryOut: (by) =>
        this.#carryOut(by, asked, { isOpen: () => this.#questions.has(question), confirm, resolve, reject }),
      fail: reject,
    };
    this.#questions.add(question);
    const over = new AbortController();
    void this.#options.party.clock.sleep(COMMAND_TIMEOUT_MS, over.signal).then(
      () => reject(new Error('Command timed out')),
      () => undefined,
    );
    // Answered or not, also when its asker has gone: until then it is sent again over a new connection.
    void promise
      .catch(() => undefined)
      .finally(() => {
        over.abort();
        this.#questions.delete(question);
      });
    this.#send(wire, question);
    try {
      return await (signal ? orAbort(promise, signal) : promise);
    } catch (error) {
      throw storeError(error);
    }
  }

  #send(wire: Wire, question: Question): void {
    wire.send(() => question.carryOut(wire));
  }

  /** At the server. */
  #carryOut<T>(wire: Wire, asked: Asked<T>, to: Teller<T>): void {
    const { store, trace } = this.#options;
    const { server } = wire;
    const name = `${wire.name} ${asked.name}`;
    if (server.refuses === 'TRYAGAIN') return this.#askLater(wire, asked, to);
    try {
      if (server.refuses !== null) throw new operations.Refused(server.refuses);
      if (server.isFull && asked.name.startsWith('acquire')) throw new operations.Refused('OOM');
      const answer = store.perform(server, asked);
      if (trace.isAloud) trace.note(server.party.name, `${name} → ${JSON.stringify(answer)}`);
      if (!to.confirm) return wire.reply(() => to.resolve(answer));
      store.confirm(server, CONFIRM_WITHIN_MS, (isConfirmed) => {
        if (isConfirmed) wire.reply(() => to.resolve(answer));
        else wire.reply(() => to.reject(new AppError('unavailable', 'no replica has confirmed the lease')));
      });
    } catch (error) {
      if (!(error instanceof operations.Refused)) throw error;
      trace.note(server.party.name, `${name} → ${error.message}`);
      wire.reply(() => to.reject(error));
    }
  }

  /** As `sidecar/engine/route.ts` does while a slot is on its way. */
  #askLater<T>(wire: Wire, asked: Asked<T>, to: Teller<T>): void {
    const again = (): void => {
      if (to.isOpen()) wire.send(() => this.#carryOut(wire, asked, to));
    };
    wire.reply(() => void this.#options.party.clock.sleep(TRY_AGAIN_MS).then(again));
  }

  #opened(wire: Wire): void {
    for (const question of this.#questions) this.#send(wire, question);
    if (this.#subscriber !== null) wire.listen(this.#subscriber.owner, this.#subscriber.opened);
  }

  #fail(why: string): void {
    for (const question of this.#questions) question.fail(new Error(why));
  }

  async *#notices(owner: string, signal: AbortSignal, opened: () => void): AsyncGenerator<Notice> {
    const waiting: Notice[] = [];
    let arrived = Promise.withResolvers<void>();
    const wake = (): void => arrived.resolve();
    signal.addEventListener('abort', wake, { once: true });
    const take = ({ id, outcome }: Push): void => {
      waiting.push(
        outcome.kind === 'granted' ? { kind: 'granted', id, grant: outcome } : { kind: 'denied', id, denial: outcome },
      );
      wake();
    };
    const subscriber = { owner, take, opened };
    this.#subscriber = subscriber;
    this.#dialer.wire?.listen(owner, opened);
    while (!signal.aborted) {
      for (let next = waiting.shift(); next && !signal.aborted; next = waiting.shift()) yield next;
      if (waiting.length > 0 || signal.aborted) continue;
      await arrived.promise;
      arrived = Promise.withResolvers<void>();
    }
    if (this.#subscriber === subscriber) this.#subscriber = null;
  }
}
