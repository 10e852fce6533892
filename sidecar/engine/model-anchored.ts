/** Reference model: anchored windows and the shares that children have of them (rules N1, N3). Pure. */
import { ENGINE_CONSTANTS } from './constants.ts';

const { GUARD_MS, MAX_AMOUNT } = ENGINE_CONSTANTS;

export const saturate = (amount: number): number => Math.min(Math.max(amount, 0), MAX_AMOUNT);
export const total = (held: ReadonlyMap<string, number>): number => [...held.values()].reduce((sum, n) => sum + n, 0);

/** How a lease ends, in wall ms. */
export interface Ending {
  readonly refund: boolean;
  readonly accepted: boolean;
  readonly sent: number;
  readonly first: number;
  readonly wall: number;
}

export type PeriodId = object;

/** One opening of the vendor's window. */
export interface Period {
  /** Itself, also in copies. */
  readonly id: PeriodId;
  used: number;
  /** Settled charges, expired ones and seeds; with the window's held leases they keep it open. */
  settled: number;
  /** Live leases that may have opened it. */
  readonly pending: Set<string>;
  lo: number | null;
  hi: number | null;
  /** Latest start if only calls of unknown fate can have opened it. */
  soft: number | null;
  firstSent: number | null;
  readonly floor: number;
  /** Calls sent from here on are surely not the previous period's. */
  sure: number | null;
}

export class AnchoredWindow {
  readonly kind = 'anchored';
  readonly durationMs: number;
  /** Live leases; each is charged in every period there is. */
  readonly held = new Map<string, number>();
  periods: Period[] = [];
  /** Earliest and latest end of the last period that closed. */
  #floor = 0;
  #ended = 0;

  constructor(durationMs: number) {
    this.durationMs = durationMs;
  }

  /** Goes on as a window was left. */
  static from(
    durationMs: number,
    periods: Period[],
    ends: { readonly floor: number; readonly ended: number },
  ): AnchoredWindow {
    const window = new AnchoredWindow(durationMs);
    window.periods = periods;
    window.#floor = ends.floor;
    window.#ended = ends.ended;
    return window;
  }

  #open(): Period {
    return this.#add(this.#floor, this.#ended);
  }

  #add(floor: number, sure: number | null): Period {
    const pending = new Set<string>();
    const period = {
      id: {},
      used: 0,
      settled: 0,
      pending,
      lo: null,
      hi: null,
      soft: null,
      firstSent: null,
      floor,
      sure,
    };
    this.periods.push(period);
    return period;
  }

  copy(): AnchoredWindow {
    const copy = new AnchoredWindow(this.durationMs);
    for (const [id, amount] of this.held) copy.held.set(id, amount);
    copy.periods = this.periods.map((period) => ({ ...period, pending: new Set(period.pending) }));
    copy.#floor = this.#floor;
    copy.#ended = this.#ended;
    return copy;
  }

  endOf({ hi, soft, pending }: Period): number | null {
    const latest = hi ?? (pending.size === 0 ? soft : null);
    return latest === null ? null : latest + this.durationMs + GUARD_MS;
  }

  roll(wall: number): void {
    for (let [current] = this.periods; current; [current] = this.periods) {
      const empty = current.settled + this.held.size === 0;
      const end = this.endOf(current);
      const isOver = end !== null && wall >= end;
      // After a step of the clock a period may be over before its own start says so: what runs on goes along all the same.
      const isNextOpen = isOver || wall >= (current.lo ?? Infinity) + this.durationMs;
      if (!empty && this.periods.length === 1 && isNextOpen) this.#beginNext(current);
      if (!empty && !isOver) return;
      this.#close(current, empty ? null : end);
    }
  }

  #beginNext(current: Period): void {
    const floor = (current.lo ?? 0) + this.durationMs;
    const next = this.#add(floor, null);
    for (const id of this.held.keys()) next.pending.add(id);
    if (this.held.size > 0) next.lo = floor;
  }

  #close(current: Period, end: number | null): void {
    const [, next] = this.periods;
    if (end !== null) {
      this.#floor = Math.max(this.#floor, (current.lo ?? 0) + this.durationMs);
      this.#ended = Math.max(this.#ended, end);
    }
    const goesOn = next !== undefined && next.settled + this.held.size > 0;
    if (goesOn && end !== null) next.sure = end;
    this.periods = goesOn ? [next] : [];
  }

  take(id: string, amount: number, wall: number): void {
    if (this.periods.length === 0) this.#open();
    this.held.set(id, amount);
    for (const period of this.periods) {
      if (period.hi !== null) continue;
      period.pending.add(id);
      const start = Math.max(wall, period.floor);
      period.lo = Math.min(period.lo ?? start, start);
    }
  }

  /** Returns the periods in which the charge has landed. */
  settle(id: string, amount: number, ending: Ending): readonly PeriodId[] {
    this.held.delete(id);
    for (const period of this.periods) {
      const mayOpen = period.hi === null || period.pending.has(id);
      period.pending.delete(id);
      if (!ending.refund) {
        period.used = saturate(period.used + amount);
        period.settled += 1;
        noteOpener(period, ending, mayOpen);
      }
      settleStart(period);
    }
    return this.periods.map((period) => period.id);
  }

  /** Corrects a charge of `reserve` that landed in `landed` when its lease expired. */
  settleLate(charge: { reserve: number; landed: readonly PeriodId[] }, amount: number, ending: Ending): void {
    if (this.periods.length === 0 && !ending.refund) {
      const period = this.#open();
      Object.assign(period, { used: amount, settled: 1, soft: ending.wall });
      period.firstSent = period.lo = Math.max(ending.sent, period.floor);
      return;
    }
    for (const period of this.periods) {
      if (charge.landed.includes(period.id)) {
        period.used = saturate(period.used + amount - charge.reserve);
        if (ending.refund) period.settled -= 1;
        else noteOpener(period, ending, false);
      } else if (!ending.refund) {
        period.used = saturate(period.used + amount);
        period.settled += 1;
        noteOpener(period, ending, true);
        period.lo = Math.min(period.lo ?? Infinity, period.firstSent ?? Infinity);
        settleStart(period);
      }
    }
  }

  /** Nothing is used any more; the periods go on as they are. */
  clear(): void {
    for (const period of this.periods) period.used = 0;
  }

  /** A period that is known to have begun then, or not before. `hi` null: by now. */
  openAt(lo: number, hi: number | null, wall: number): void {
    const period = this.#add(Math.min(this.#floor, lo), Math.min(this.#ended, lo));
    Object.assign(period, { settled: 1, lo, hi, soft: hi === null ? wall : null, firstSent: lo });
  }

  /** Starts with at least `used`, as if it had been opened now. */
  seed(used: number, wall: number): void {
    if (this.periods.length === 0) this.openAt(wall, wall, wall);
    const reserved = total(this.held);
    for (const period of this.periods) {
      period.settled += 1;
      period.used = Math.max(period.used, used - reserved);
      const start = Math.max(wall, period.floor);
      period.lo ??= start;
      period.firstSent ??= start;
      period.soft = Math.max(period.soft ?? 0, wall);
    }
  }
}

function noteOpener(period: Period, ending: Ending, mayOpen: boolean): void {
  const sent = Math.max(ending.sent, period.floor);
  if (mayOpen) period.firstSent = Math.min(period.firstSent ?? sent, sent);
  if (ending.accepted && period.sure !== null && ending.sent >= period.sure)
    period.hi = Math.min(period.hi ?? ending.first, ending.first);
  else period.soft = Math.max(period.soft ?? 0, ending.wall);
}

function settleStart(period: Period): void {
  if (period.pending.size === 0 && period.firstSent !== null) period.lo = Math.max(period.floor, period.firstSent);
}

/** A child's own count in the periods of its window's owner. */
export class SharedWindow {
  readonly kind = 'shared';
  readonly held = new Map<string, number>();
  readonly #owner: () => AnchoredWindow | undefined;
  readonly #used = new Map<PeriodId, number>();

  constructor(owner: () => AnchoredWindow | undefined) {
    this.#owner = owner;
  }

  /** Goes on as a window was left. */
  resume(used: ReadonlyMap<PeriodId, number>): void {
    for (const [id, amount] of used) this.#used.set(id, amount);
  }

  copy(): SharedWindow {
    const copy = new SharedWindow(this.#owner);
    for (const [id, amount] of this.held) copy.held.set(id, amount);
    for (const [id, used] of this.#used) copy.#used.set(id, used);
    return copy;
  }

  get timeline(): AnchoredWindow | undefined {
    return this.#owner();
  }

  get periods(): readonly Period[] {
    return this.timeline?.periods ?? [];
  }

  usedIn(period: Period): number {
    return this.#used.get(period.id) ?? 0;
  }

  take(id: string, amount: number): void {
    this.held.set(id, amount);
  }

  settle(id: string, amount: number, { refund }: Ending): readonly PeriodId[] {
    this.held.delete(id);
    if (!refund) for (const period of this.periods) this.#used.set(period.id, saturate(this.usedIn(period) + amount));
    return this.periods.map((period) => period.id);
  }

  settleLate(charge: { reserve: number; landed: readonly PeriodId[] }, amount: number, { refund }: Ending): void {
    for (const period of this.periods) {
      if (charge.landed.includes(period.id))
        this.#used.set(period.id, saturate(this.usedIn(period) + amount - charge.reserve));
      else if (!refund) this.#used.set(period.id, saturate(this.usedIn(period) + amount));
    }
  }

  clear(): void {
    for (const period of this.periods) this.#used.set(period.id, 0);
  }

  seed(used: number): void {
    const reserved = total(this.held);
    for (const period of this.periods) this.#used.set(period.id, Math.max(this.usedIn(period), used - reserved));
  }
}
