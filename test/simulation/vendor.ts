/** The vendor: counts for itself what it is sent, and refuses what is too much by limits that nobody else knows. */
import type { Random } from './random.ts';
import type { Schedule } from './schedule.ts';

/** What it allows; null: as much as like. */
export interface HiddenLimits {
  /** Calls in flight of one model. */
  concurrency: number | null;
  /** How long it goes on counting a call that has ended. */
  lagMs: number;
}

export interface CallPlan {
  readonly model: string;
  readonly firstByteMs: number;
  readonly lastByteMs: number;
}

export interface VendorEvents {
  accepted(): void;
  firstByte(): void;
  /** It counts the call no longer. */
  ended(how: 'answered' | 'refused' | 'closed'): void;
}

/** The connection breaks, or our side closes it. */
export interface Sent {
  close(): void;
}

interface Counted {
  readonly model: string;
}

/** How long it goes on counting a call that was cut: less than the hold of rule T6. */
const CLOSE_LAG_MS = 1800;

export class Vendor {
  readonly hidden: HiddenLimits = { concurrency: null, lagMs: 0 };
  accepted = 0;
  refused = 0;
  /** How often its limits have changed. */
  changes = 0;
  readonly #schedule: Schedule;
  readonly #random: Random;
  readonly #counted = new Set<Counted>();

  constructor(schedule: Schedule, random: Random) {
    this.#schedule = schedule;
    this.#random = random;
  }

  change(hidden: HiddenLimits): void {
    Object.assign(this.hidden, hidden);
    this.changes += 1;
  }

  send({ model, firstByteMs, lastByteMs }: CallPlan, events: VendorEvents): Sent {
    const call = { model };
    const schedule = this.#schedule;
    let isOver = false;
    const end = (how: 'answered' | 'refused' | 'closed', lagMs: number): void => {
      if (isOver) return;
      isOver = true;
      events.ended(how);
      schedule.after(lagMs, () => this.#counted.delete(call));
    };
    const { nowMs } = schedule;
    const arrivesMs = nowMs + this.#random.between(0.2, 10);
    schedule.at(arrivesMs, () => {
      if (isOver) return;
      if (this.#isFull(model)) {
        this.refused += 1;
        return end('refused', 0);
      }
      this.accepted += 1;
      this.#counted.add(call);
      events.accepted();
      schedule.after(firstByteMs, () => (isOver ? undefined : events.firstByte()));
      schedule.after(lastByteMs, () => end('answered', this.hidden.lagMs));
    });
    const closesAfterMs = this.#random.between(0, CLOSE_LAG_MS);
    return { close: () => void schedule.after(closesAfterMs, () => end('closed', 0)) };
  }

  #isFull(model: string): boolean {
    const { concurrency } = this.hidden;
    return concurrency !== null && [...this.#counted].filter((each) => each.model === model).length >= concurrency;
  }
}
