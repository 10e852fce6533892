/** How one call gets its lease from a tree: asked for, waited for, asked for again where Redis forgot or was away. */
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import { jitter, newId } from '../base/ids.ts';
import type { AcquireRequest, Denied, Grant, Queued, Settlement, SettleReply, Verdict } from '../engine/terms.ts';
import { type Lease, leaseOf } from './lease-state.ts';
import type { LocalStarts } from './local-starts.ts';
import { isAway, type LeaseEngine } from './metered-engine.ts';
import type { Outbox, Swapped } from './outbox.ts';
import type { Registrar } from './registrar.ts';
import type { StoreWatch } from './store-watch.ts';
import type { Answer, Heard, Held, Successor, Told, TreeCall } from './tree-call.ts';
import { momentOf, type Moment, type TreeView } from './tree-view.ts';
import type { News, Parked, WaitingRoom } from './waiting-room.ts';

export interface AdmissionsOptions {
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
  /** Settles when the first connection stands, or was waited for in vain. */
  readonly connecting: Promise<void>;
  /** Told when there is something to beat or to deliver. */
  readonly onNews: () => void;
}

/** Lets Redis say itself why a call waited in vain: its clock and ours differ a little. */
const LATE_SLACK_MS = 20;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 1000;
/** A Redis that loses its memory more often while one call asks is no Redis. */
const MAX_EPOCHS = 3;

export class Admissions {
  readonly #options: AdmissionsOptions;
  /** Until the first connection stands, or was waited for in vain. */
  #connecting: Promise<void> | null;
  #underWay = 0;

  constructor(options: AdmissionsOptions) {
    this.#options = options;
    this.#connecting = options.connecting
      .catch(() => undefined)
      .finally(() => {
        this.#connecting = null;
      });
  }

  /** Calls that may yet bring a lease. */
  get underWay(): number {
    return this.#underWay;
  }

  async acquire(call: TreeCall): Promise<Answer> {
    return this.#pursue(call, null);
  }

  /**
   * Settles, and in the same trip asks for the successor, else for a call of ours that waits with the same leaf: its grant
   * then comes without a push.
   */
  async settle(lease: Lease, settlement: Settlement, successor: Successor | null): Promise<SettleReply | null> {
    const { outbox, room, clock } = this.#options;
    const parked = successor === null ? room.nextOf(lease.request.leaf) : null;
    const call = successor?.call ?? parked?.call;
    if (call === undefined) return outbox.settle(lease, settlement);
    const asked = momentOf(clock);
    const request = this.#requestOf(call);
    const swapped = outbox.swap(lease, settlement, request);
    if (successor !== null) successor.answered(this.#pursue(call, this.#toldOf(swapped, request, { call, asked })));
    const { settled, verdict } = await swapped;
    if (parked !== null && verdict !== null) this.#tellParked(parked, verdict, asked);
    return settled;
  }

  /** Settles a refused call and asks for it under the same id: it goes back to the head of its flow. */
  async retry(lease: Lease, settlement: Settlement, call: TreeCall): Promise<Answer> {
    const { outbox, clock, onNews } = this.#options;
    const asked = momentOf(clock);
    const request = this.#requestOf(call);
    const swapped = outbox.swap(lease, settlement, request);
    const told = swapped.then(({ settled, verdict }) => {
      if (verdict !== null && isAnswer(verdict)) return this.#heard(verdict, request, { call, asked });
      if (settled === null) {
        // Nobody knows whether both were done, and asking again could be answered with the lease just settled.
        void outbox.cancel(call.ask.id, { later: true });
        onNews();
        throw new AppError('unavailable', 'Redis did not answer');
      }
      call.ask = { ...call.ask, id: newId() };
      return null;
    });
    return this.#pursue(call, told);
  }

  /** `first`: what another call's trip brought; null: nothing. */
  async #pursue(call: TreeCall, first: Promise<Told | null> | null): Promise<Answer> {
    this.#underWay += 1;
    try {
      if (this.#connecting !== null) await this.#connecting;
      let told = (first === null ? null : await first) ?? (await this.#verdict(call));
      while (told.kind === 'queued' || (told.kind === 'done' && call.patience.hasWaited)) {
        if (told.kind === 'queued') {
          told = await this.#park(call, told);
        } else {
          // Granted and expired without our hearing of it: if it was never used, its cancellation refunds it.
          void this.#options.outbox.cancel(call.ask.id, { later: true });
          call.ask = { ...call.ask, id: newId() };
          told = await this.#verdict(call);
        }
      }
      return told;
    } finally {
      this.#underWay -= 1;
    }
  }

  /** Waits until the call is told what became of it. */
  async #park(call: TreeCall, queued: Queued): Promise<Told> {
    const { outbox, room } = this.#options;
    const parked = room.enter(call, queued);
    call.hasParked = true;
    this.#options.onNews();
    try {
      for (;;) {
        const news = await call.patience.wait(parked.next(), LATE_SLACK_MS);
        if (news === null) return await this.#late(call, parked);
        const told = await this.#toldBy(news, call);
        if (told.kind !== 'queued') return told;
        Object.assign(parked, { position: told.position, etaMs: told.etaMs });
      }
    } catch (error) {
      if (call.patience.isOver) void outbox.cancel(call.ask.id, { keepPlace: call.patience.callerLeft });
      throw error;
    } finally {
      room.leave(parked);
    }
  }

  async #toldBy(news: News, call: TreeCall): Promise<Told> {
    switch (news.kind) {
      case 'granted':
        return this.#enter(news.grant, { ...this.#requestOf(call), epoch: news.grant.epoch }, call);
      case 'denied':
        return news.denial;
      case 'unsure':
        return this.#verdict(call);
      case 'moved':
        void this.#options.outbox.cancel(call.ask.id);
        return { kind: 'stale', generation: call.ask.generation };
    }
  }

  /** Time is over: Redis says why, or else others were before it. */
  async #late(call: TreeCall, parked: Parked): Promise<Told> {
    const told = await this.#verdict(call);
    if (told.kind !== 'queued') return told;
    void this.#options.outbox.cancel(call.ask.id);
    return inVain(call, parked.position, told.serverNowMs);
  }

  #tellParked(parked: Parked, verdict: Verdict, asked: Moment): void {
    const { room, view } = this.#options;
    if (!room.has(parked)) return;
    if (verdict.kind === 'granted') {
      view.learn(asked, verdict);
      parked.tell({ kind: 'granted', id: parked.id, grant: verdict });
    } else if (verdict.kind === 'denied') {
      parked.tell({ kind: 'denied', id: parked.id, denial: verdict });
    } else if (verdict.kind === 'queued') {
      view.learn(asked, verdict);
      room.schedule(asked, verdict);
      Object.assign(parked, { position: verdict.position, etaMs: verdict.etaMs });
    } else {
      parked.tell({ kind: 'unsure' });
    }
  }

  /** What Redis says; while it is away, what this process may decide itself, else its answer once it is back. */
  async #verdict(call: TreeCall): Promise<Told> {
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
    const lease = downForMs === null ? null : local.tryStart(call, this.#requestOf(call), downForMs);
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
      const request = this.#requestOf(call);
      const verdict = await engine.acquire(request);
      if (verdict.kind !== 'epoch') return this.#heard(verdict, request, { call, asked });
      await registrar.register(verdict.epoch);
    }
    throw new AppError('unavailable', 'Redis keeps losing its memory');
  }

  #requestOf({ ask, patience }: TreeCall): AcquireRequest {
    const { owner, view } = this.#options;
    const wait = { mode: patience.mode, maxWaitMs: patience.remainingMs };
    return { ...ask, wait, owner, epoch: view.epoch };
  }

  async #toldOf(swapped: Promise<Swapped>, request: AcquireRequest, of: Asking): Promise<Told | null> {
    const { verdict } = await swapped;
    return verdict === null || verdict.kind === 'epoch' ? null : this.#heard(verdict, request, of);
  }

  #heard(verdict: Heard, request: AcquireRequest, { call, asked }: Asking): Told {
    const { view, room } = this.#options;
    if (verdict.kind === 'granted') {
      view.learn(asked, verdict);
      return this.#enter(verdict, request, call);
    }
    if (verdict.kind === 'queued') {
      view.learn(asked, verdict);
      room.schedule(asked, verdict);
    }
    return verdict;
  }

  #enter(grant: Grant, request: AcquireRequest, call: TreeCall): Held {
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

interface Asking {
  readonly call: TreeCall;
  readonly asked: Moment;
}

/** Else its id cannot be asked for any more: the settlement has used it up. */
function isAnswer(verdict: Verdict): verdict is Extract<Verdict, { kind: 'granted' | 'queued' | 'denied' }> {
  return verdict.kind === 'granted' || verdict.kind === 'queued' || verdict.kind === 'denied';
}

function inVain({ ask }: TreeCall, position: number, serverNowMs: number): Denied {
  const blame = { node: ask.leaf, limit: 'queue', used: position, amount: 0 };
  return { kind: 'denied', reason: 'Waiting', ...blame, retryAtMs: null, serverNowMs };
}
