/** One question to Redis and its answer; while Redis is away, what this process may decide itself. */
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import { jitter } from '../base/ids.ts';
import type { AcquireRequest, Grant } from '../engine/terms.ts';
import { type Moment, type Lease, leaseOf } from './lease-state.ts';
import type { LocalStarts } from './local-starts.ts';
import { isAway, type LeaseEngine } from './metered-engine.ts';
import type { Outbox } from './outbox.ts';
import type { Registrar } from './registrar.ts';
import type { StoreWatch } from './store-watch.ts';
import type { Heard, Held, Told, TreeCall } from './tree-call.ts';
import { momentOf, type TreeView } from './tree-view.ts';
import type { WaitingRoom } from './waiting-room.ts';

export interface QuestionsOptions {
  readonly engine: LeaseEngine;
  readonly owner: string;
  readonly clock: Clock;
  readonly view: TreeView;
  readonly leases: Map<string, Lease>;
  readonly outbox: Outbox;
  readonly room: WaitingRoom;
  readonly registrar: Registrar;
  readonly local: LocalStarts;
  readonly watch: StoreWatch;
  /** Told when there is something to beat or to deliver. */
  readonly onNews: () => void;
}

/** A call, and when it was asked for. */
export interface Asking {
  readonly call: TreeCall;
  readonly asked: Moment;
}

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 1000;
/** A Redis that loses its memory more often while one call asks is no Redis. */
const MAX_EPOCHS = 3;

export class Questions {
  readonly #options: QuestionsOptions;
  #hasMoved = false;

  constructor(options: QuestionsOptions) {
    this.#options = options;
  }

  /** The binding is another tree's now: nothing more is asked of this one on the way of a wait. */
  moved(): void {
    this.#hasMoved = true;
    this.#options.watch.tell();
  }

  requestOf({ ask, patience }: TreeCall): AcquireRequest {
    const { owner, view } = this.#options;
    const wait = { mode: patience.mode, maxWaitMs: patience.remainingMs };
    return { ...ask, wait, owner, epoch: view.epoch };
  }

  /** What Redis says; while it is away, what this process may decide itself, else its answer once it is back. */
  async verdict(call: TreeCall): Promise<Told> {
    try {
      return await this.#decided(call);
    } catch (error) {
      void this.#options.outbox.cancel(call.ask.id, { later: true });
      this.#options.onNews();
      throw error;
    }
  }

  async #decided(call: TreeCall): Promise<Told> {
    const { watch } = this.#options;
    const { patience } = call;
    for (let pauseMs = FIRST_PAUSE_MS, asked = false; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      const started = this.#startLocally(call);
      if (started !== null) return started;
      const told = asked && watch.downForMs !== null ? null : await this.#askIfThere(call);
      if (told !== null) return told;
      asked = true;
      if (this.#hasMoved) {
        void this.#options.outbox.cancel(call.ask.id, { later: true });
        return stale(call);
      }
      if (patience.remainingMs === 0) throw new AppError('unavailable', 'Redis cannot be asked');
      await watch.change(patience, pauseMs * (0.75 + jitter() / 2));
    }
  }

  /** Null: Redis is away, and the call is willing to wait for it. */
  async #askIfThere(call: TreeCall): Promise<Told | null> {
    try {
      return await this.#ask(call);
    } catch (error) {
      if (!isAway(error) || call.patience.isOver || call.patience.remainingMs === 0) throw error;
      return null;
    }
  }

  #startLocally(call: TreeCall): Held | null {
    const { local, watch, outbox, leases, onNews } = this.#options;
    const { downForMs } = watch;
    const lease = downForMs === null ? null : local.tryStart(call, this.requestOf(call), downForMs);
    if (lease === null) return null;
    void outbox.cancel(call.ask.id, { later: true });
    leases.set(lease.request.id, lease);
    local.began(lease, call.binding);
    onNews();
    return { kind: 'held', lease };
  }

  /** Asks, and registers first where Redis has lost its memory. */
  async #ask(call: TreeCall): Promise<Told> {
    const { clock, engine, registrar } = this.#options;
    for (let epochs = 0; epochs < MAX_EPOCHS; epochs++) {
      const asked = momentOf(clock);
      const request = this.requestOf(call);
      const verdict = await engine.acquire(request);
      if (verdict.kind !== 'epoch') return this.heard(verdict, request, { call, asked });
      await registrar.register(verdict.epoch);
    }
    throw new AppError('unavailable', 'Redis keeps losing its memory');
  }

  /** Learns from an answer; a grant is entered into the books. */
  heard(verdict: Heard, request: AcquireRequest, { call, asked }: Asking): Told {
    const { view, room } = this.#options;
    if (verdict.kind === 'granted') {
      view.learn(asked, verdict);
      return this.enter(verdict, request, call);
    }
    if (verdict.kind === 'queued') {
      view.learn(asked, verdict);
      room.schedule(asked, verdict);
    }
    return verdict;
  }

  /** A grant's lease, dated by the server's clock: when it came in says nothing (rule T2). */
  enter(grant: Grant, request: AcquireRequest, call: TreeCall): Held {
    const { view, clock, leases, local, onNews } = this.#options;
    const answeredMs = clock.monotonicMs();
    const notBeforeMs = view.notBeforeMs(grant.grantedAtMs, grant.epoch) ?? call.askedAtMs;
    const askedMs = Math.min(answeredMs, Math.max(call.askedAtMs, notBeforeMs));
    view.ttlMs = Math.max(view.ttlMs, grant.ttlMs);
    const lease = leaseOf(request, grant, { askedMs, answeredMs });
    leases.set(request.id, lease);
    local.began(lease, call.binding);
    onNews();
    return { kind: 'held', lease };
  }
}

/** Its snapshot is not the one in force. */
export function stale({ ask }: TreeCall): Told {
  return { kind: 'stale', generation: ask.generation };
}
