/** What happened, for whoever has to understand a failed run. */

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
    this.#notes.push(note);
    if (this.#notes.length > 4 * TOLD) this.#notes.splice(0, 2 * TOLD);
    if (this.#aloud) console.log(textOf(note));
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
