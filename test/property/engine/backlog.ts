/** A tree under more calls than it can serve, on the model alone: who is granted, in which order. */
import { Model } from '#sidecar/engine/model.ts';
import { hear } from '#sidecar/engine/model-queue.ts';
import type { AcquireRequest, Outcome } from '#sidecar/engine/terms.ts';
import type { NodeConfig } from '#sidecar/engine/tree-terms.ts';
import { request, settlement, START_MS, treeOf } from '#test/support/engine.ts';

/** Calls that come as fast as they are served. */
export interface Stream {
  readonly name: string;
  readonly call: Partial<AcquireRequest>;
}

export class Backlog {
  readonly model = new Model();
  /** Names of the streams in the order of their grants. */
  readonly granted: string[] = [];
  /** The same by the calls' ids. */
  readonly grantedIds: string[] = [];
  readonly #streams = new Map<string, string>();
  readonly #inFlight: string[] = [];
  #calls = 0;
  #nowMs = START_MS;

  constructor(nodes: readonly NodeConfig[]) {
    this.model.clock.setUs(START_MS * 1000);
    const revision = { leaseCreatedMs: START_MS, transitions: 0, generation: 1 };
    this.model.configure(treeOf(nodes), revision);
  }

  get inFlight(): readonly string[] {
    return this.#inFlight;
  }

  waiting(name: string): number {
    return this.model.tree.room.waiters.filter(({ request: { id } }) => this.#streams.get(id) === name).length;
  }

  /** Returns the call's id. */
  ask({ name, call }: Stream): string {
    this.#calls += 1;
    const id = `call-${this.#calls}`;
    this.#streams.set(id, name);
    const wait = { mode: 'UntilWindow', maxWaitMs: 86_400_000 } as const;
    const verdict = this.model.acquire(request(id, { wait, ...call }));
    if (verdict.kind === 'granted') this.#note(id);
    return id;
  }

  /** One call ends; whoever is granted by that is noted. False: none is in flight. */
  end(index: number, outcome: Outcome = 'completed'): boolean {
    const [id] = this.#inFlight.splice(index % Math.max(1, this.#inFlight.length), 1);
    const lease = id === undefined ? undefined : this.model.tree.leases.find(id);
    if (!lease || id === undefined) return false;
    this.model.settle([settlement(id, lease.fence, { outcome })], null);
    for (const [granted, { kind }] of this.model.tree.room.outcomes) if (kind === 'granted') this.#note(granted);
    return true;
  }

  /** Keeps `depth` calls of every stream waiting while calls end one by one in the order that `ends` says. */
  run(streams: readonly Stream[], depth: number, ends: readonly number[]): void {
    for (const index of ends) {
      for (const stream of streams) while (this.waiting(stream.name) < depth) this.ask(stream);
      this.#pass();
      if (!this.end(index)) return;
    }
  }

  nameOf(id: string): string {
    return this.#streams.get(id) ?? '';
  }

  /** Time goes on, and everybody is heard. */
  #pass(): void {
    this.#nowMs += 10;
    this.model.clock.setUs(this.#nowMs * 1000);
    if (this.#nowMs % 1000 !== 0) return;
    const { room, leases } = this.model.tree;
    for (const waiter of room.waiters) hear(waiter, { logicalMs: this.#nowMs });
    for (const lease of leases.live) leases.extend(lease);
  }

  #note(id: string): void {
    this.granted.push(this.nameOf(id));
    this.grantedIds.push(id);
    this.#inFlight.push(id);
  }
}

/** How often each name occurs. */
export function tally(names: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}
