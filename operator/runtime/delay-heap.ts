/** Keys by the time they are due. A key is in it once, at its earliest time. */
interface Delayed {
  readonly key: string;
  readonly dueMs: number;
}

export class DelayHeap {
  /** A binary heap; entries whose time is no longer the key's are skipped when they come up. */
  #heap: Delayed[] = [];
  readonly #due = new Map<string, number>();

  /** Infinity when empty. */
  get earliestMs(): number {
    this.#skipStale();
    return this.#heap[0]?.dueMs ?? Number.POSITIVE_INFINITY;
  }

  push(key: string, dueMs: number): void {
    const known = this.#due.get(key);
    if (known !== undefined && known <= dueMs) return;
    this.#due.set(key, dueMs);
    this.#heap.push({ key, dueMs });
    this.#up(this.#heap.length - 1);
  }

  remove(key: string): void {
    this.#due.delete(key);
  }

  /** Takes out all keys due at `nowMs`, earliest first. */
  popDue(nowMs: number): string[] {
    const keys: string[] = [];
    while (this.earliestMs <= nowMs) {
      const key = this.#heap[0]?.key ?? '';
      this.#due.delete(key);
      this.#pop();
      keys.push(key);
    }
    return keys;
  }

  clear(): void {
    this.#heap = [];
    this.#due.clear();
  }

  #skipStale(): void {
    for (let top = this.#heap[0]; top !== undefined && this.#due.get(top.key) !== top.dueMs; top = this.#heap[0]) {
      this.#pop();
    }
  }

  #pop(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#down(0);
  }

  #dueAt(index: number): number {
    return this.#heap[index]?.dueMs ?? Number.POSITIVE_INFINITY;
  }

  #swap(a: number, b: number): void {
    const [left, right] = [this.#heap[a], this.#heap[b]];
    if (left === undefined || right === undefined) return;
    this.#heap[a] = right;
    this.#heap[b] = left;
  }

  #up(from: number): void {
    for (let index = from; index > 0;) {
      const parent = (index - 1) >> 1;
      if (this.#dueAt(parent) <= this.#dueAt(index)) return;
      this.#swap(parent, index);
      index = parent;
    }
  }

  #down(from: number): void {
    for (let index = from; ;) {
      const left = 2 * index + 1;
      const least = this.#dueAt(left + 1) < this.#dueAt(left) ? left + 1 : left;
      if (this.#dueAt(least) >= this.#dueAt(index)) return;
      this.#swap(least, index);
      index = least;
    }
  }
}
