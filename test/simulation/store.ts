/** Redis as a whole: the master, what its replica has of it, and who is connected to which server. */
import type { Model } from '#sidecar/engine/model.ts';
import type { Grant } from '#sidecar/engine/terms.ts';
import type { Link } from './link.ts';
import { Party, type Machine } from './party.ts';
import type { Random } from './random.ts';
import type { Schedule } from './schedule.ts';
import { type Operation, type Push, Server } from './server.ts';
import type { Trace } from './trace.ts';

export interface Connection {
  readonly server: Server;
  readonly link: Link;
  /** Whose notices it listens to; null: nobody's. */
  readonly owner: string | null;
  heard(push: Push): void;
  /** The other side has closed it. */
  closed(): void;
}

export interface StoreOptions {
  readonly schedule: Schedule;
  readonly random: Random;
  readonly trace: Trace;
  readonly machine: (name: string) => Machine;
  readonly newModel: () => Model;
  /** Told when the tree's clock is set. */
  readonly onStep: (byMs: number) => void;
  /** Told of each grant once. */
  readonly onGrant: (grant: Grant, server: Server) => void;
}

/** An operation, and what it grants by its answer. */
export interface Asked<T> extends Operation<T> {
  readonly grants?: (answer: T) => readonly Grant[];
}

export class Store {
  master: Server;
  /** How long what the master did takes to its replica. */
  lagMs = 0.5;
  readonly servers: Server[] = [];
  readonly connections = new Set<Connection>();
  /**
   * What was done and is forgotten again: by a fail-over, a crash or an operator's mistake. Calls that a checkpoint counts
   * and that then come back are `doubled`.
   */
  readonly forgotten = { operations: 0, grants: new Set<string>(), doubled: 0 };
  /** Identity of the server that it was declared to move to. */
  #target: string | null = null;
  /** True time of the last checkpoint. */
  #rememberedMs = -Infinity;
  readonly #options: StoreOptions;
  /** True time at which the replica has each operation of the master's log. */
  #ackMs: number[] = [];
  #replicates = true;
  #runs = 0;

  constructor(options: StoreOptions) {
    this.#options = options;
    this.master = this.#newServer();
  }

  /** The server that a client behind this link takes for the master. */
  seenBy(link: Link): Server {
    return this.servers.findLast((server) => !link.beyond.has(server)) ?? this.master;
  }

  /** Carries out what has arrived at a server. */
  perform<T>(server: Server, asked: Asked<T>): T {
    this.#options.trace.mark(server.party.name, asked.name);
    const { answer, pushes } = server.perform(asked);
    if (server === this.master) this.#replicate();
    const told = asked.grants?.(answer) ?? [];
    const pushed = pushes.flatMap(({ outcome }) => (outcome.kind === 'granted' ? [outcome] : []));
    for (const grant of [...told, ...pushed]) this.#note(server, grant);
    for (const push of pushes) this.#push(server, push);
    return answer;
  }

  /** Calls back with whether the replica has everything up to now, within `withinMs`. */
  confirm(server: Server, withinMs: number, told: (isConfirmed: boolean) => void): void {
    const { schedule } = this.#options;
    const index = server.log.length - 1;
    const isThere = (): boolean => server === this.master && (this.#ackMs[index] ?? Infinity) <= schedule.nowMs;
    const dueMs = Math.min(schedule.nowMs + withinMs, this.#ackMs[index] ?? Infinity);
    schedule.at(dueMs, () => server.party.deliver(() => told(isThere())));
  }

  /** The replica hears nothing more of the master, or catches up. */
  replicate(does: boolean): void {
    const { nowMs } = this.#options.schedule;
    this.#replicates = does;
    this.#ackMs = this.#ackMs.map((atMs) => (atMs <= nowMs ? atMs : does ? nowMs + this.lagMs : Infinity));
  }

  /** The process is gone; `lostMs`: what it did last was not on disk. */
  crash(lostMs: number): void {
    const { master } = this;
    const { nowMs } = this.#options.schedule;
    master.isDown = true;
    this.#reset(master);
    const kept = master.log.findLastIndex(({ atMs }) => atMs <= nowMs - lostMs) + 1;
    if (kept === 0) this.#forgetAll();
    else this.#forget(master, kept);
    if (kept < master.log.length) master.inherit(master.log, kept);
    this.#ackMs = master.log.map(() => nowMs);
  }

  /** It is there again as another process. */
  rise(): void {
    this.master.identity = this.#newIdentity();
    this.master.isDown = false;
  }

  /** Somebody keeps elsewhere what is used by now. */
  remember(): void {
    this.#rememberedMs = this.#options.schedule.nowMs;
  }

  /** Everything is deleted. */
  flush(): void {
    const { master } = this;
    this.#forgetAll();
    this.perform(master, { name: 'flushall', work: (model) => model.wipe() });
    master.standsUntilMs.clear();
    master.ended.clear();
  }

  /** The master goes away; `silently`: without a word to those who are connected. */
  fall(silently: boolean): void {
    this.master.isDown = true;
    this.master.isSilent = silently;
    this.replicate(false);
    if (!silently) this.#reset(this.master);
  }

  /** The replica takes over with what it has. Returns the old master, which is left to itself. */
  promote(): Server {
    const old = this.master;
    const { nowMs } = this.#options.schedule;
    const kept = this.#ackMs.filter((atMs) => atMs <= nowMs).length;
    this.#forget(old, kept);
    this.master = this.#newServer();
    this.master.inherit(old.log, kept);
    this.#compareClocks(old);
    this.#ackMs = this.master.log.map(() => nowMs);
    this.#replicates = true;
    return old;
  }

  /** Says where it is about to move, for so long (rule W2). */
  declareMove(forMs: number): void {
    const { master } = this;
    this.#target = this.#newIdentity();
    const move = { identities: [master.identity, this.#target], untilMs: Math.floor(master.party.wallMs) + forMs };
    this.perform(master, { name: 'declare a move', work: (model) => model.declareMove(move) });
  }

  /** All it has moves to another server, which answers from now on. */
  move(): void {
    const old = this.master;
    this.master = this.#newServer();
    this.master.identity = this.#target ?? this.master.identity;
    this.#target = null;
    this.master.inherit(old.log, old.log.length);
    this.#compareClocks(old);
    this.#ackMs = this.master.log.map(() => this.#options.schedule.nowMs);
    this.demote(old);
  }

  /** An old master becomes a replica: whoever is still connected is cut. */
  demote(server: Server): void {
    server.isDown = true;
    this.#reset(server);
  }

  /** To the tree, another server's clock is its own, set anew. */
  #compareClocks(old: Server): void {
    this.#options.onStep(this.master.party.wallMs - old.party.wallMs);
  }

  #newServer(): Server {
    const { schedule, machine } = this.#options;
    const name = `redis-${this.servers.length + 1}`;
    const party = new Party(name, schedule, machine(name));
    const server = new Server(party, this.#newIdentity(), { schedule, newModel: this.#options.newModel });
    this.servers.push(server);
    return server;
  }

  #newIdentity(): string {
    return `run-${++this.#runs}`;
  }

  #replicate(): void {
    const { schedule, random } = this.#options;
    const atMs = this.#replicates ? schedule.nowMs + this.lagMs * random.between(0.5, 1.5) : Infinity;
    this.#ackMs.push(Math.max(this.#ackMs.at(-1) ?? 0, atMs));
  }

  /** What a checkpoint knows comes back. */
  #forgetAll(): void {
    const { master } = this;
    this.forgotten.doubled += master.model.tree.leases.live.length;
    this.#forget(master, master.log.findLastIndex(({ atMs }) => atMs <= this.#rememberedMs) + 1);
  }

  #forget(server: Server, kept: number): void {
    const lost = server.log.slice(kept);
    this.forgotten.operations += lost.length;
    for (const { id } of lost.flatMap(({ granted }) => granted)) this.forgotten.grants.add(id);
    this.#options.trace.note(server.party.name, `${kept} operations are kept, ${lost.length} forgotten`);
  }

  #note(server: Server, grant: Grant): void {
    if (server.noteGrant(grant)) this.#options.onGrant(grant, server);
  }

  #push(server: Server, push: Push): void {
    for (const connection of this.connections) {
      if (connection.server !== server || connection.owner !== push.owner) continue;
      connection.link.send('down', server, () => connection.heard(push));
    }
  }

  #reset(server: Server): void {
    for (const connection of this.connections) {
      if (connection.server === server) connection.link.send('down', server, () => connection.closed());
    }
  }
}
