/** The network between one sidecar and whichever Redis it talks to. */
import type { Random } from './random.ts';
import type { Schedule } from './schedule.ts';
import type { Server } from './server.ts';

export type Direction = 'up' | 'down';

/** What may happen to each message, as probabilities. */
export interface Weather {
  readonly drop: number;
  readonly double: number;
  readonly late: number;
  /** A late message may be overtaken. */
  readonly lateByMs: number;
}

const FAIR: Weather = { drop: 0, double: 0, late: 0, lateByMs: 0 };
/** What is stuck in a cut may still arrive when it is over: TCP sends again. */
const MAY_BE_STUCK = 0.5;

export class Link {
  weather: Weather = FAIR;
  /** Directions in which nothing passes. */
  readonly cut = new Set<Direction>();
  /** Servers on the other side of a split network. */
  readonly beyond = new Set<Server>();
  readonly #schedule: Schedule;
  readonly #random: Random;
  readonly #latencyMs: number;
  readonly #clearMs: Record<Direction, number> = { up: 0, down: 0 };
  #stuck: { readonly direction: Direction; readonly deliver: () => void }[] = [];

  constructor(schedule: Schedule, random: Random) {
    this.#schedule = schedule;
    this.#random = random;
    this.#latencyMs = random.between(0.05, 2);
  }

  calm(): void {
    this.weather = FAIR;
  }

  passes(server: Server): boolean {
    return this.cut.size === 0 && !this.beyond.has(server);
  }

  send(direction: Direction, server: Server, deliver: () => void): void {
    const random = this.#random;
    if (this.beyond.has(server)) return;
    if (this.cut.has(direction)) {
      if (random.chance(MAY_BE_STUCK)) this.#stuck.push({ direction, deliver });
      return;
    }
    const { drop, double, late, lateByMs } = this.weather;
    if (random.chance(drop)) return;
    this.#pass(direction, deliver, random.chance(late) ? random.between(0, lateByMs) : null);
    if (random.chance(double)) this.#pass(direction, deliver, random.between(0, lateByMs));
  }

  mend(direction: Direction): void {
    this.cut.delete(direction);
    const stuck = this.#stuck.filter((each) => each.direction === direction);
    this.#stuck = this.#stuck.filter((each) => each.direction !== direction);
    for (const { deliver } of stuck) this.#pass(direction, deliver, null);
  }

  /** The split is over. What was on its way is lost. */
  reunite(): void {
    this.beyond.clear();
  }

  /** What is not late comes in the order it was sent. */
  #pass(direction: Direction, deliver: () => void, lateByMs: number | null): void {
    const takesMs = this.#latencyMs + this.#random.exponential(0.2);
    const atMs = this.#schedule.nowMs + takesMs;
    if (lateByMs !== null) {
      this.#schedule.at(atMs + lateByMs, deliver);
      return;
    }
    this.#clearMs[direction] = Math.max(this.#clearMs[direction], atMs);
    this.#schedule.at(this.#clearMs[direction], deliver);
  }
}
