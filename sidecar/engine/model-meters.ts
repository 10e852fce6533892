/** Reference model: calendar, fixed and sliding windows. What is known at the grant lands there, the rest when it settles. Pure. */
import { ENGINE_CONSTANTS } from './constants.ts';
import { total } from './model-anchored.ts';

const { MAX_AMOUNT, RING_BUCKETS } = ENGINE_CONSTANTS;

export interface Now {
  readonly wallMs: number;
  readonly logicalMs: number;
}

abstract class Meter {
  readonly kind = 'meter';
  readonly held = new Map<string, number>();

  abstract readonly used: number;
  /** Where something lands now; `lift` takes it back from there. */
  abstract placeAt(now: Now): number;
  protected abstract add(amount: number, now: Now): void;
  protected abstract lift(amount: number, place: number): void;

  land(amount: number, now: Now): void {
    this.add(Math.min(amount, MAX_AMOUNT - this.used), now);
  }

  correct(difference: number, place: number, now: Now): void {
    if (difference > 0) this.land(difference, now);
    else this.lift(-difference, place);
  }

  abstract copy(): Meter;
  /** Nothing is used any more; what live leases hold stays. */
  abstract clear(): void;

  get total(): number {
    return this.used + total(this.held);
  }
}

/** One period after another; used starts at nothing in each. */
export abstract class PeriodicWindow extends Meter {
  start = 0;
  end = 0;
  used = 0;

  placeAt(): number {
    return this.start;
  }

  protected add(amount: number): void {
    this.used += amount;
  }

  protected lift(amount: number, place: number): void {
    if (place === this.start) this.used = Math.max(0, this.used - amount);
  }

  protected copyTo(copy: PeriodicWindow): void {
    Object.assign(copy, { start: this.start, end: this.end, used: this.used });
    for (const [id, amount] of this.held) copy.held.set(id, amount);
  }

  clear(): void {
    this.used = 0;
  }

  retryAt(amount: number, limit: number): number | null {
    return this.end < MAX_AMOUNT && amount <= limit - total(this.held) ? this.end : null;
  }
}

export class CalendarWindow extends PeriodicWindow {
  /** `boundaries` null: nobody has this calendar any more. */
  roll({ wallMs }: Now, boundaries: readonly number[] | null): void {
    const endless = this.end === MAX_AMOUNT;
    if (wallMs < this.end && !endless) return;
    if (boundaries === null) {
      if (!endless) Object.assign(this, { used: 0, start: this.end });
      return;
    }
    const start = boundaries.findLast((at) => at <= wallMs) ?? 0;
    const end = boundaries.find((at) => at > wallMs) ?? MAX_AMOUNT;
    if (start > this.start) Object.assign(this, { used: 0, start });
    if (end > this.start) this.end = end;
  }

  copy(): CalendarWindow {
    const copy = new CalendarWindow();
    this.copyTo(copy);
    return copy;
  }
}

/** Starts at multiples of its duration. */
export class FixedWindow extends PeriodicWindow {
  readonly #durationMs: number;

  constructor(durationMs: number) {
    super();
    this.#durationMs = durationMs;
  }

  roll({ wallMs }: Now): void {
    if (wallMs < this.end) return;
    const start = Math.floor(wallMs / this.#durationMs) * this.#durationMs;
    Object.assign(this, { used: 0, start, end: start + this.#durationMs });
  }

  copy(): FixedWindow {
    const copy = new FixedWindow(this.#durationMs);
    this.copyTo(copy);
    return copy;
  }
}

export class SlidingWindow extends Meter {
  readonly #durationMs: number;
  readonly #widthMs: number;
  #log: { readonly bucket: number; amount: number }[] = [];

  constructor(durationMs: number) {
    super();
    this.#durationMs = durationMs;
    this.#widthMs = Math.ceil(durationMs / RING_BUCKETS);
  }

  /** Goes on as a window was left; buckets ascending. */
  resume(log: readonly { readonly bucket: number; readonly amount: number }[]): void {
    this.#log = log.map((entry) => ({ ...entry }));
  }

  copy(): SlidingWindow {
    const copy = new SlidingWindow(this.#durationMs);
    for (const [id, amount] of this.held) copy.held.set(id, amount);
    copy.#log = this.#log.map((entry) => ({ ...entry }));
    return copy;
  }

  get used(): number {
    return this.#log.reduce((sum, { amount }) => sum + amount, 0);
  }

  clear(): void {
    this.#log = [];
  }

  roll({ logicalMs }: Now): void {
    this.#log = this.#log.filter(({ bucket }) => (bucket + 1) * this.#widthMs > logicalMs - this.#durationMs);
  }

  placeAt({ logicalMs }: Now): number {
    return Math.floor(logicalMs / this.#widthMs);
  }

  protected add(amount: number, now: Now): void {
    this.#log.push({ bucket: this.placeAt(now), amount });
  }

  protected lift(amount: number, place: number): void {
    let left = amount;
    for (const entry of this.#log.filter(({ bucket }) => bucket === place)) {
      const lifted = Math.min(left, entry.amount);
      entry.amount -= lifted;
      left -= lifted;
    }
  }

  /** The end of the first bucket whose leaving makes room for `amount`, in wall time. */
  retryAt(amount: number, limit: number, now: Now): number | null {
    let excess = amount - (limit - this.total);
    for (const { bucket, amount: gone } of this.#log) {
      excess -= gone;
      if (excess <= 0) return (bucket + 1) * this.#widthMs + this.#durationMs + now.wallMs - now.logicalMs;
    }
    return null;
  }
}
