/** What happened, for whoever has to understand a failed run. */
import { createHash } from 'node:crypto';

export interface Note {
  readonly atMs: number;
  readonly who: string;
  readonly what: string;
}

/** So many events are told of a failed run. */
const TOLD = 40;

export class Trace {
  readonly #clock: { readonly nowMs: number };
  readonly #aloud: boolean;
  readonly #notes: Note[] = [];
  readonly #faults: Note[] = [];
  readonly #sum = createHash('sha256');

  /** `aloud`: everything is printed as it happens. */
  constructor(clock: { readonly nowMs: number }, aloud: boolean) {
    this.#clock = clock;
    this.#aloud = aloud;
  }

  get isAloud(): boolean {
    return this.#aloud;
  }

  note(who: string, what: string): void {
    const note = { atMs: this.#clock.nowMs, who, what };
    this.mark(who, what);
    this.#notes.push(note);
    if (this.#notes.length > 4 * TOLD) this.#notes.splice(0, 2 * TOLD);
    if (this.#aloud) console.log(textOf(note));
  }

  /** Happened, and is not worth telling: it counts for `digest` only. */
  mark(who: string, what: string): void {
    this.#sum.update(`${this.#clock.nowMs} ${who} ${what}\n`);
  }

  /** The same for two runs in which the same happened at the same times. */
  digest(): string {
    return this.#sum.copy().digest('hex');
  }

  /** Something that is done to the parties. */
  fault(who: string, what: string): void {
    this.#faults.push({ atMs: this.#clock.nowMs, who, what: `** ${what}` });
    this.note(who, `** ${what}`);
  }

  /** The last events, faults and others, oldest first. */
  tail(): string {
    const recent = this.#notes.slice(-TOLD);
    const earlier = this.#faults.filter(({ atMs }) => atMs < (recent[0]?.atMs ?? Infinity)).slice(-TOLD);
    return [...earlier, ...recent].map(textOf).join('\n');
  }
}

function textOf({ atMs, who, what }: Note): string {
  return `${(atMs / 1000).toFixed(4).padStart(9)} s  ${who.padEnd(9)} ${what}`;
}
