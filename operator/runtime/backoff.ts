/** Delays that double up to a most, each between half and the whole of its step. */
export class Backoff {
  readonly #first: number;
  readonly #most: number;
  readonly #random: () => number;
  #failures = 0;

  constructor(limits: { readonly first: number; readonly most: number }, random: () => number) {
    this.#first = limits.first;
    this.#most = limits.most;
    this.#random = random;
  }

  /** Milliseconds to wait now; the next answer is longer. */
  next(): number {
    const step = Math.min(this.#most, this.#first * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return step * (0.5 + this.#random() / 2);
  }

  reset(): void {
    this.#failures = 0;
  }
}
