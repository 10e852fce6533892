/** How one call gets its lease from a tree: asked for, waited for, asked for again where Redis forgot or was away. */
import { AppError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { AcquireRequest, Denied, Queued, Settlement, SettleReply, Verdict } from '../engine/terms.ts';
import type { Moment, Lease } from './lease-state.ts';
import type { Swapped } from './outbox.ts';
import { type Asking, Questions, type QuestionsOptions, stale } from './questions.ts';
import type { Answer, Successor, Told, TreeCall } from './tree-call.ts';
import { momentOf } from './tree-view.ts';
import type { News, Parked } from './waiting-room.ts';

export interface AdmissionsOptions extends QuestionsOptions {
  /** Settles when the first connection stands, or was waited for in vain. */
  readonly connecting: Promise<void>;
}

/** Lets Redis say itself why a call waited in vain: its clock and ours differ a little. */
const LATE_SLACK_MS = 20;

export class Admissions {
  readonly #options: AdmissionsOptions;
  readonly #questions: Questions;
  /** Until the first connection stands, or was waited for in vain. */
  #connecting: Promise<void> | null;
  #underWay = 0;

  constructor(options: AdmissionsOptions) {
    this.#options = options;
    this.#questions = new Questions(options);
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

  /** The binding is another tree's now: whoever waits here has to ask there. */
  moved(): void {
    this.#questions.moved();
    this.#options.room.moved();
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
    const request = this.#questions.requestOf(call);
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
    const request = this.#questions.requestOf(call);
    const swapped = outbox.swap(lease, settlement, request);
    const told = swapped.then(({ settled, verdict }) => {
      if (verdict !== null && isAnswer(verdict)) return this.#questions.heard(verdict, request, { call, asked });
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
      let told = (first === null ? null : await first) ?? (await this.#questions.verdict(call));
      while (told.kind === 'queued' || (told.kind === 'done' && call.patience.hasWaited)) {
        if (told.kind === 'queued') {
          told = await this.#park(call, told);
        } else {
          // Granted and expired without our hearing of it: if it was never used, its cancellation refunds it.
          void this.#options.outbox.cancel(call.ask.id, { later: true });
          call.ask = { ...call.ask, id: newId() };
          told = await this.#questions.verdict(call);
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
        room.place(parked, told);
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
        return this.#questions.enter(news.grant, { ...this.#questions.requestOf(call), epoch: news.grant.epoch }, call);
      case 'denied':
        return news.denial;
      case 'unsure':
        return this.#questions.verdict(call);
      case 'moved':
        void this.#options.outbox.cancel(call.ask.id);
        return stale(call);
    }
  }

  /** Time is over: Redis says why, or else others were before it. */
  async #late(call: TreeCall, parked: Parked): Promise<Told> {
    const told = await this.#questions.verdict(call);
    if (told.kind !== 'queued') return told;
    void this.#options.outbox.cancel(call.ask.id);
    return inVain(call, parked.position, told.serverNowMs);
  }

  #tellParked(parked: Parked, verdict: Verdict, asked: Moment): void {
    const { room, view } = this.#options;
    if (verdict.kind === 'granted') {
      view.learn(asked, verdict);
      parked.tell({ kind: 'granted', id: parked.id, grant: verdict });
    } else if (verdict.kind === 'denied') {
      parked.tell({ kind: 'denied', id: parked.id, denial: verdict });
    } else if (verdict.kind === 'queued') {
      view.learn(asked, verdict);
      room.schedule(asked, verdict);
      room.place(parked, verdict);
    } else {
      parked.tell({ kind: 'unsure' });
    }
  }

  async #toldOf(swapped: Promise<Swapped>, request: AcquireRequest, of: Asking): Promise<Told | null> {
    const { verdict } = await swapped;
    return verdict === null || verdict.kind === 'epoch' ? null : this.#questions.heard(verdict, request, of);
  }
}

/** Else its id cannot be asked for any more: the settlement has used it up. */
function isAnswer(verdict: Verdict): verdict is Extract<Verdict, { kind: 'granted' | 'queued' | 'denied' }> {
  return verdict.kind === 'granted' || verdict.kind === 'queued' || verdict.kind === 'denied';
}

function inVain({ ask }: TreeCall, position: number, serverNowMs: number): Denied {
  const blame = { node: ask.leaf, limit: 'queue', used: position, amount: 0 };
  return { kind: 'denied', reason: 'Waiting', ...blame, retryAtMs: null, serverNowMs };
}
