/** True time, and what happens when. Between two events everything runs that does not wait for time. */

export interface Appointment {
  cancel(): void;
}

interface Entry {
  readonly atMs: number;
  readonly order: number;
  job: (() => void) | null;
}

/** Node looks after rejections and its own timers only when the chain of ticks is interrupted. */
const BREATHE_EVERY = 2000;

export class Schedule {
  /** Since the beginning of the run. */
  nowMs = 0;
  events = 0;
  /** Nothing more is to happen: something went wrong. */
  isHalted = false;
  readonly #heap: Entry[] = [];
  #order = 0;

  at(atMs: number, job: () => void): Appointment {
    const entry: Entry = { atMs: Math.max(atMs, this.nowMs), order: this.#order++, job };
    this.#push(entry);
    return { cancel: () => void (entry.job = null) };
  }

  after(ms: number, job: () => void): Appointment {
    return this.at(this.nowMs + ms, job);
  }

  async runUntil(untilMs: number): Promise<void> {
    await quiescence();
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= untilMs; next = this.#heap[0]) {
      if (this.isHalted) return;
      this.#pop();
      if (next.job === null) continue;
      this.nowMs = next.atMs;
      this.events += 1;
      next.job();
      if (this.events % BREATHE_EVERY === 0) await new Promise((resolve) => setImmediate(resolve));
      await quiescence();
    }
    this.nowMs = untilMs;
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    for (let up = (at - 1) >> 1; at > 0 && isBefore(entry, heap[up]!); up = (at - 1) >> 1) {
      heap[at] = heap[up]!;
      at = up;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down + 1 < heap.length && isBefore(heap[down + 1]!, heap[down]!)) down += 1;
      if (down >= heap.length || !isBefore(heap[down]!, last)) break;
      heap[at] = heap[down]!;
      at = down;
    }
    heap[at] = last;
  }
}

function isBefore(one: Entry, other: Entry): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);
}

/** Resolves when no promise job is left: a tick comes after all of them. */
async function quiescence(): Promise<void> {
  await new Promise<void>((resolve) => process.nextTick(resolve));
}
