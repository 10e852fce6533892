/** The calls of this process that wait in a tree's queue: who they are, what they are told, and the one timer for all. */
import type { Clock } from '../base/clock.ts';
import { jitter } from '../base/ids.ts';
import type { Log } from '../base/log.ts';
import { AppError } from '../base/errors.ts';
import type { BeatReply, Notice } from '../engine/port.ts';
import type { Queued } from '../engine/terms.ts';
import type { LeaseEngine } from './metered-engine.ts';
import type { WaitingCall } from './terms.ts';
import type { TreeCall } from './tree-call.ts';
import type { Moment } from './lease-state.ts';
import { momentOf } from './tree-view.ts';

export type News =
  | Notice
  /** Redis may not know it any more: ask again. */
  | { readonly kind: 'unsure' }
  /** Its place is in another tree now. */
  | { readonly kind: 'moved' };

export interface WaitingRoomOptions {
  readonly engine: LeaseEngine;
  readonly owner: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Told when pushes begin to arrive: what was pushed before is only told by a beat. */
  readonly onOpened: () => void;
}

/** Whoever is not next in line leaves the tick to those who are, and steps in this much later. */
const NOT_NEXT_MS = 50;
/** Clocks are read in whole milliseconds: a tick that comes a little early does nothing. */
const TICK_SLACK_MS = 1;
const SHORTEST_TICK_MS = 2;
/** Subscribing costs a round trip and a beat: the subscription outlives its last waiter by this. */
const LINGER_MS = 30_000;
const RESUBSCRIBE_MS = 1000;

interface Timer {
  readonly dueMs: number;
  /** A call of ours is next in line. */
  readonly isNext: boolean;
  readonly ended: AbortController;
}

/** One waiting call; `next` gives what it is told, one after the other. */
export class Parked implements WaitingCall {
  readonly call: TreeCall;
  readonly id: string;
  position: number;
  etaMs: number | null;
  #news = Promise.withResolvers<News>();

  constructor(call: TreeCall, { position, etaMs }: Queued) {
    this.call = call;
    this.id = call.ask.id;
    this.position = position;
    this.etaMs = etaMs;
  }

  tell(news: News): void {
    this.#news.resolve(news);
  }

  async next(): Promise<News> {
    const news = await this.#news.promise;
    this.#news = Promise.withResolvers<News>();
    return news;
  }
}

export class WaitingRoom implements Disposable {
  readonly #options: WaitingRoomOptions;
  readonly #parked = new Map<string, Parked>();
  /** Those of them that are next in line somewhere. */
  readonly #next = new Set<Parked>();
  readonly #closing = new AbortController();
  /** Of the subscription; null: there is none. */
  #listening: AbortController | null = null;
  #lingering: AbortController | null = null;
  #timer: Timer | null = null;
  /** Monotonic moment at which the engine wants to be asked; null: nothing is due by time. */
  #dueMs: number | null = null;
  /** Server time of the answer that said so. */
  #saidAtMs = Number.NEGATIVE_INFINITY;
  #hasMoved = false;

  constructor(options: WaitingRoomOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#parked.size;
  }

  ids(): readonly string[] {
    return [...this.#parked.keys()];
  }

  calls(): readonly Parked[] {
    return [...this.#parked.values()];
  }

  enter(call: TreeCall, queued: Queued): Parked {
    const parked = new Parked(call, queued);
    this.#parked.set(parked.id, parked);
    this.#move(parked, queued);
    if (this.#hasMoved) parked.tell({ kind: 'moved' });
    this.#lingering?.abort();
    this.#lingering = null;
    if (this.#listening === null && !this.#closing.signal.aborted) void this.#listen();
    this.#arm();
    return parked;
  }

  /** Where it stands by now. */
  place(parked: Parked, where: WaitingCall): void {
    this.#move(parked, where);
    this.#arm();
  }

  leave(parked: Parked): void {
    if (this.#parked.get(parked.id) === parked) this.#parked.delete(parked.id);
    this.#next.delete(parked);
    if (this.#parked.size > 0) return;
    this.#disarm();
    if (this.#listening !== null) void this.#linger(this.#listening);
  }

  take(notice: Notice): void {
    this.#parked.get(notice.id)?.tell(notice);
  }

  unsure(id: string): void {
    this.#parked.get(id)?.tell({ kind: 'unsure' });
  }

  /** Redis may have forgotten everybody. */
  allUnsure(): void {
    for (const parked of this.#parked.values()) parked.tell({ kind: 'unsure' });
  }

  /** From now on nobody waits here. */
  moved(): void {
    this.#hasMoved = true;
    for (const parked of this.#parked.values()) parked.tell({ kind: 'moved' });
  }

  /** The longest waiting call of this leaf that is nearest to its turn. */
  nextOf(leaf: string): Parked | null {
    let next: Parked | null = null;
    for (const parked of this.#parked.values()) {
      const isNearer = next === null || parked.position < next.position;
      if (isNearer && parked.call.ask.leaf === leaf && !parked.call.patience.isOver) next = parked;
    }
    return next;
  }

  /** What a beat said about the calls it named. */
  heard(asked: Moment, reply: Extract<BeatReply, { kind: 'alive' }>): void {
    for (const { id, ...where } of reply.waiting) {
      const parked = this.#parked.get(id);
      if (parked !== undefined) this.#move(parked, where);
    }
    for (const notice of reply.notices) this.take(notice);
    for (const id of reply.lost) this.unsure(id);
    this.schedule(asked, reply);
    this.#arm();
  }

  /** When the engine wants to be asked again, by an answer to what was sent at `asked`. */
  schedule(asked: Moment, reply: { readonly serverNowMs: number; readonly nextTickMs: number | null }): void {
    if (reply.serverNowMs < this.#saidAtMs) return;
    this.#saidAtMs = reply.serverNowMs;
    const { nextTickMs } = reply;
    this.#dueMs = nextTickMs === null ? null : asked.monotonicMs + (nextTickMs - reply.serverNowMs) + TICK_SLACK_MS;
    this.#arm();
  }

  /** The server counts its time anew. */
  forgetTimes(): void {
    this.#saidAtMs = Number.NEGATIVE_INFINITY;
    this.#dueMs = null;
    this.#arm();
  }

  [Symbol.dispose](): void {
    this.#closing.abort();
    this.#listening?.abort();
    this.#lingering?.abort();
    this.#disarm();
  }

  #move(parked: Parked, { position, etaMs }: WaitingCall): void {
    parked.position = position;
    parked.etaMs = etaMs;
    if (position === 1 && this.#parked.get(parked.id) === parked) this.#next.add(parked);
    else this.#next.delete(parked);
  }

  #disarm(): void {
    this.#timer?.ended.abort();
    this.#timer = null;
  }

  /** Costs nothing when the timer is right already: thousands of calls may each bring the same news. */
  #arm(): void {
    const isNext = this.#next.size > 0;
    const dueMs = this.#dueMs;
    if (this.#timer?.dueMs === dueMs && this.#timer.isNext === isNext) return;
    this.#disarm();
    if (dueMs === null || this.#parked.size === 0 || this.#closing.signal.aborted) return;
    const timer = { dueMs, isNext, ended: new AbortController() };
    this.#timer = timer;
    const laterMs = isNext ? 0 : NOT_NEXT_MS * (1 + jitter());
    const inMs = Math.max(SHORTEST_TICK_MS, dueMs - this.#options.clock.monotonicMs() + laterMs);
    void this.#options.clock.sleep(inMs, timer.ended.signal).then(
      () => this.#tick(timer),
      () => undefined,
    );
  }

  /** One that fails is not repeated: the next beat says when to ask again. */
  async #tick(timer: Timer): Promise<void> {
    if (this.#timer === timer) this.#timer = null;
    const { clock, engine, log } = this.#options;
    const asked = momentOf(clock);
    try {
      this.schedule(asked, await engine.tick(this.#closing.signal));
    } catch (error) {
      log.debug('wait.tickFailed', { code: AppError.from(error).code });
    }
  }

  async #listen(): Promise<void> {
    const { engine, owner, clock, log, onOpened } = this.#options;
    const listening = new AbortController();
    this.#listening = listening;
    const { signal } = listening;
    while (!signal.aborted) {
      try {
        for await (const notice of engine.notices(owner, signal, onOpened)) this.take(notice);
      } catch (error) {
        if (!signal.aborted) log.warn('wait.deaf', { code: AppError.from(error).code });
      }
      if (!signal.aborted) await clock.sleep(RESUBSCRIBE_MS, signal).catch(() => undefined);
    }
  }

  async #linger(listening: AbortController): Promise<void> {
    this.#lingering?.abort();
    const lingering = new AbortController();
    this.#lingering = lingering;
    await this.#options.clock.sleep(LINGER_MS, lingering.signal).catch(() => undefined);
    if (lingering.signal.aborted) return;
    listening.abort();
    if (this.#listening === listening) this.#listening = null;
    this.#lingering = null;
  }
}
