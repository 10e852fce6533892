/** One Redis: the reference model behind a clock and an identity, with a log of all it did so that it can be put back. */
import { ENGINE_CONSTANTS } from '#sidecar/engine/constants.ts';
import type { Model } from '#sidecar/engine/model.ts';
import type { Denied, Grant } from '#sidecar/engine/terms.ts';
import type { Party } from './party.ts';

/** Something the engine is asked, in one atomic step. */
export interface Operation<T> {
  readonly name: string;
  readonly work: (model: Model) => T;
  /** Lease ids whose holder Redis heard of by it. */
  readonly hears?: (answer: T) => readonly string[];
  /** Id that is not to be granted any more. */
  readonly ends?: string | null;
}

interface Done {
  readonly us: number;
  readonly identity: string;
  readonly work: (model: Model) => unknown;
  readonly heard: readonly string[];
  readonly ended: string | null;
  /** What was granted by it for the first time. */
  readonly granted: Grant[];
  /** True time. */
  readonly atMs: number;
}

/** What became of a waiter, for its owner. */
export interface Push {
  readonly owner: string;
  readonly id: string;
  readonly outcome: Grant | Denied;
}

export interface ServerOptions {
  readonly schedule: { readonly nowMs: number };
  readonly newModel: () => Model;
}

export class Server {
  readonly party: Party;
  readonly log: Done[] = [];
  /** Lease id → true time until which it stands by what its holder was heard to say. */
  readonly standsUntilMs = new Map<string, number>();
  /** Cancelled ids. */
  readonly ended = new Set<string>();
  identity: string;
  /** It answers nobody; silent: it does not even refuse connections. */
  isDown = false;
  isSilent = false;
  /** Why it refuses all writes; null: it does not. */
  refuses: string | null = null;
  /** It refuses what may need more memory (rule F1). */
  isFull = false;
  model: Model;
  readonly #options: ServerOptions;
  /** Id → fence of its latest grant that is known outside. */
  readonly #fences = new Map<string, number>();

  constructor(party: Party, identity: string, options: ServerOptions) {
    this.party = party;
    this.identity = identity;
    this.#options = options;
    this.model = options.newModel();
  }

  perform<T>({ work, hears, ends = null }: Operation<T>): { readonly answer: T; readonly pushes: readonly Push[] } {
    const us = Math.floor(this.party.wallMs * 1000);
    const { identity, model } = this;
    set(model, us, identity);
    model.tree.room.outcomes.clear();
    const answer = work(model);
    const heard = hears?.(answer) ?? [];
    const done: Done = { us, identity, work, heard, ended: ends, granted: [], atMs: this.#options.schedule.nowMs };
    this.log.push(done);
    this.#note(done);
    return { answer, pushes: pushesOf(model) };
  }

  /** The operation done last has told of this grant. False: it is known. */
  noteGrant(grant: Grant): boolean {
    const done = this.log.at(-1);
    if (done === undefined || this.#fences.get(grant.id) === grant.fence) return false;
    done.granted.push(grant);
    this.#stand(grant, done.atMs);
    return true;
  }

  /** Looks without a trace. */
  look<T>(work: (model: Model) => T): T {
    set(this.model, Math.floor(this.party.wallMs * 1000), this.identity);
    return work(this.model);
  }

  /** Takes over what another server had done up to `count`. */
  inherit(log: readonly Done[], count: number): void {
    this.model = this.#options.newModel();
    this.standsUntilMs.clear();
    this.ended.clear();
    this.#fences.clear();
    this.log.splice(0, Infinity, ...log.slice(0, count));
    for (const done of this.log) {
      set(this.model, done.us, done.identity);
      done.work(this.model);
      this.#note(done);
      for (const grant of done.granted) this.#stand(grant, done.atMs);
    }
  }

  #stand({ id, fence, ttlMs }: Grant, sinceMs: number): void {
    this.#fences.set(id, fence);
    this.standsUntilMs.set(id, sinceMs + ttlMs);
  }

  #note({ heard, ended, atMs }: Done): void {
    for (const id of heard) this.standsUntilMs.set(id, atMs + ENGINE_CONSTANTS.TTL_MS);
    if (ended !== null) this.ended.add(ended);
  }
}

function set(model: Model, us: number, identity: string): void {
  model.clock.setUs(us);
  model.clock.restartAs(identity);
}

function pushesOf({ tree }: Model): readonly Push[] {
  const { outcomes, notices } = tree.room;
  if (outcomes.size === 0) return [];
  return [...outcomes].map(([id, outcome]) => {
    const owner = outcome.kind === 'granted' ? tree.leases.find(id)?.request.owner : notices.get(id)?.value.owner;
    return { owner: owner ?? '', id, outcome };
  });
}
