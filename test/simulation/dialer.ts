/** One sidecar's connection to Redis: made, lost and made again. */
import { orAbort } from '#sidecar/base/abort.ts';
import type { RemoteOptions } from './remote.ts';
import { Wire } from './wire.ts';
import type { Push } from './server.ts';

const CONNECT_TIMEOUT_MS = 5000;
const KNOCKS_MS = [1000, 3000];
const LONGEST_DELAY_MS = 1000;

export interface DialerEvents {
  /** A new connection stands. */
  opened(wire: Wire): void;
  /** The second attempt has failed: nobody waits longer for an answer. */
  failed(): void;
  heard(push: Push): void;
}

export class Dialer implements Disposable {
  /** Null: there is no connection. */
  wire: Wire | null = null;
  readonly #options: RemoteOptions;
  readonly #events: DialerEvents;
  readonly #closing = new AbortController();
  #next = Promise.withResolvers<void>();

  constructor(options: RemoteOptions, events: DialerEvents) {
    this.#options = options;
    this.#events = events;
    void this.#dialUntilAnswered();
  }

  async ready(signal: AbortSignal): Promise<void> {
    if (this.wire === null) await orAbort(this.#next.promise, signal);
  }

  /** Gives up a connection that may be dead. */
  async redial(signal: AbortSignal): Promise<void> {
    if (this.wire !== null) this.#lost(this.wire);
    await this.ready(signal);
  }

  [Symbol.dispose](): void {
    this.#closing.abort();
    this.wire?.hangUp();
    this.wire = null;
  }

  #lost(wire: Wire): void {
    wire.hangUp();
    if (this.wire !== wire) return;
    this.wire = null;
    this.#next = Promise.withResolvers();
    if (!this.#closing.signal.aborted) void this.#dialUntilAnswered();
  }

  async #dialUntilAnswered(): Promise<void> {
    const { party, random, store } = this.#options;
    const { signal } = this.#closing;
    for (let attempt = 1; !signal.aborted; attempt++) {
      const wire = await this.#dial();
      if (signal.aborted) return wire?.hangUp();
      if (wire !== null) {
        this.wire = wire;
        store.connections.add(wire);
        this.#next.resolve();
        return this.#events.opened(wire);
      }
      if (attempt > 1) this.#events.failed();
      const delayMs = Math.min(50 * 2 ** attempt, LONGEST_DELAY_MS) * random.between(0.5, 1);
      await party.clock.sleep(delayMs, signal).catch(() => undefined);
    }
  }

  /** Null: nobody answered. */
  async #dial(): Promise<Wire | null> {
    const { link, party, store } = this.#options;
    const server = store.seenBy(link);
    const { promise, resolve } = Promise.withResolvers<Wire | null>();
    const answer = (wire: Wire | null): void => link.send('down', server, () => party.deliver(() => resolve(wire)));
    const knock = (): void =>
      link.send('up', server, () =>
        server.party.deliver(() => {
          const events = { heard: (push: Push) => this.#events.heard(push), closed: (wire: Wire) => this.#lost(wire) };
          if (!server.isDown) answer(new Wire(server, this.#options, events));
          else if (!server.isSilent) answer(null);
        }),
      );
    const over = new AbortController();
    const signal = AbortSignal.any([this.#closing.signal, over.signal]);
    knock();
    // TCP asks again by itself.
    for (const afterMs of KNOCKS_MS) void party.clock.sleep(afterMs, signal).then(knock, () => undefined);
    const late = party.clock.sleep(CONNECT_TIMEOUT_MS, signal).then(
      () => null,
      () => null,
    );
    const wire = await Promise.race([promise, late]);
    over.abort();
    return wire;
  }
}
