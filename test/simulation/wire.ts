/** A connection between a sidecar and a Redis that stands, or did. */
import type { Link } from './link.ts';
import type { RemoteOptions } from './remote.ts';
import type { Push, Server } from './server.ts';
import type { Connection } from './store.ts';

const SUBSCRIBE_TIMEOUT_MS = 2000;

export interface WireEvents {
  readonly heard: (push: Push) => void;
  readonly closed: (wire: Wire) => void;
}

export class Wire implements Connection {
  readonly server: Server;
  readonly link: Link;
  readonly name: string;
  owner: string | null = null;
  readonly #options: RemoteOptions;
  readonly #events: WireEvents;
  readonly #identity: string;
  readonly #ending = new AbortController();

  constructor(server: Server, options: RemoteOptions, events: WireEvents) {
    this.server = server;
    this.link = options.link;
    this.name = options.party.name;
    this.#options = options;
    this.#events = events;
    this.#identity = server.identity;
  }

  get isOpen(): boolean {
    return !this.#ending.signal.aborted;
  }

  /** To the server, which does not know a connection of its former life. */
  send(work: () => void): void {
    const { server } = this;
    this.link.send('up', server, () =>
      server.party.deliver(() => {
        if (!server.isDown && server.identity === this.#identity) work();
        else if (!server.isSilent) this.link.send('down', server, () => this.closed());
      }),
    );
  }

  /** From the server, if both are still there. */
  reply(tell: () => void): void {
    this.link.send('down', this.server, () => this.#whileOpen(tell));
  }

  /** Asks for an owner's notices; asks again if it hears nothing. */
  listen(owner: string, opened: () => void): void {
    const stands = new AbortController();
    this.send(() => {
      this.owner = owner;
      this.reply(() => {
        stands.abort();
        opened();
      });
    });
    const signal = AbortSignal.any([stands.signal, this.#ending.signal]);
    void this.#options.party.clock.sleep(SUBSCRIBE_TIMEOUT_MS, signal).then(
      () => this.listen(owner, opened),
      () => undefined,
    );
  }

  heard(push: Push): void {
    this.#whileOpen(() => this.#events.heard(push));
  }

  closed(): void {
    this.#whileOpen(() => this.#events.closed(this));
  }

  /** Nothing more comes from it. */
  hangUp(): void {
    this.#ending.abort();
    this.#options.store.connections.delete(this);
  }

  #whileOpen(job: () => void): void {
    this.#options.party.deliver(() => {
      if (this.isOpen) job();
    });
  }
}
