/** Randomness from a seed. Whoever needs some has a stream of their own, so that one fault less leaves the rest as it was. */

export class Random {
  readonly #name: string;
  readonly #state: Uint32Array;

  constructor(name: string) {
    this.#name = name;
    this.#state = Uint32Array.from(['a', 'b', 'c', 'd'], (salt) => hash(salt + name));
    for (let warm = 0; warm < 12; warm++) this.#next();
  }

  /** A stream that only depends on this one's name. */
  fork(name: string): Random {
    return new Random(`${this.#name}/${name}`);
  }

  /** In [0, 1). */
  unit(): number {
    return this.#next() / 2 ** 32;
  }

  between(least: number, most: number): number {
    return least + this.unit() * (most - least);
  }

  /** Both ends are included. */
  int(least: number, most: number): number {
    return least + Math.floor(this.unit() * (most - least + 1));
  }

  chance(probability: number): boolean {
    return this.unit() < probability;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.int(0, items.length - 1)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  exponential(mean: number): number {
    return -mean * Math.log(1 - this.unit());
  }

  bytes(count: number): Buffer {
    const bytes = Buffer.alloc(count);
    for (let at = 0; at < count; at += 4) {
      const word = this.#next();
      for (let byte = 0; byte < 4 && at + byte < count; byte++) bytes[at + byte] = (word >>> (8 * byte)) & 255;
    }
    return bytes;
  }

  /** sfc32: three words that mix and one that counts. */
  #next(): number {
    const state = this.#state;
    const [a = 0, b = 0, c = 0, count = 0] = state;
    const sum = (a + b + count) >>> 0;
    state[3] = count + 1;
    state[0] = b ^ (b >>> 9);
    state[1] = c + (c << 3);
    state[2] = ((c << 21) | (c >>> 11)) + sum;
    return sum;
  }
}

/** FNV-1a, stirred once more at the end. */
function hash(text: string): number {
  let sum = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) sum = Math.imul(sum ^ text.charCodeAt(at), 0x01000193);
  sum = Math.imul(sum ^ (sum >>> 16), 0x85ebca6b);
  return (sum ^ (sum >>> 13)) >>> 0;
}
