/** Named gates that calls wait at, so that tests can arrange what runs at once without sleeping. */

interface Gate {
  opened: Promise<void>;
  open: () => void;
  waiting: number;
}

export class Holds {
  #gates = new Map<string, Gate>();

  /** Settles when the gate is released. */
  wait(name: string): Promise<void> {
    let gate = this.#gates.get(name);
    if (!gate) {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate = { opened: promise, open: resolve, waiting: 0 };
      this.#gates.set(name, gate);
    }
    gate.waiting += 1;
    return gate.opened;
  }

  /** Lets go whoever waits now; the next to come wait anew. */
  release(name?: string): void {
    for (const each of name === undefined ? [...this.#gates.keys()] : [name]) {
      this.#gates.get(each)?.open();
      this.#gates.delete(each);
    }
  }

  /** Calls that came to each gate since its last release. */
  report(): Record<string, number> {
    return Object.fromEntries([...this.#gates].map(([name, { waiting }]) => [name, waiting]));
  }
}
