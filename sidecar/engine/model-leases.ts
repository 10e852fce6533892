/** Reference model: leases, finished ids and owners. Pure. */
import { ENGINE_CONSTANTS } from './constants.ts';
import type { ModelClock } from './model-clock.ts';
import type { ModelCharge } from './model-node.ts';
import type { AcquireRequest } from './terms.ts';

const { TTL_MS, LATE_MS, REAP_BUDGET } = ENGINE_CONSTANTS;

export interface ModelLease {
  readonly request: AcquireRequest;
  readonly fence: number;
  readonly grantedMs: number;
  readonly grantedWallMs: number;
  readonly taken: readonly { readonly node: string; readonly number: number; readonly charges: ModelCharge[] }[];
  claimed: boolean;
  /** Holds its slots. */
  live: boolean;
  /** Its reserve has landed, because it expired. */
  landed: boolean;
  expiresMs: number;
}

export class ModelLeases {
  readonly #clock: ModelClock;
  readonly #leases = new Map<string, ModelLease>();
  readonly #done = new Map<string, number>();
  readonly #heard = new Map<string, number>();

  constructor(clock: ModelClock) {
    this.#clock = clock;
  }

  wipe(): void {
    for (const map of [this.#leases, this.#done, this.#heard]) map.clear();
  }

  get live(): readonly ModelLease[] {
    return [...this.#leases.values()].filter(({ live }) => live);
  }

  add(lease: Omit<ModelLease, 'claimed' | 'live' | 'landed' | 'expiresMs'>): ModelLease {
    const { logicalMs } = this.#clock.now;
    const added = { ...lease, claimed: false, live: true, landed: false, expiresMs: logicalMs + TTL_MS };
    this.#leases.set(lease.request.id, added);
    this.#heard.set(lease.request.owner, logicalMs);
    return added;
  }

  /** Live, or expired and still to be settled late. */
  find(id: string): ModelLease | undefined {
    const lease = this.#leases.get(id);
    const { logicalMs } = this.#clock.now;
    if (!lease || lease.live || logicalMs < lease.grantedMs + lease.request.maxRuntimeMs + LATE_MS) return lease;
    this.#leases.delete(id);
    return undefined;
  }

  extend(lease: ModelLease): void {
    lease.expiresMs = this.#clock.now.logicalMs + TTL_MS;
  }

  finish(id: string): void {
    this.#leases.delete(id);
    this.#done.set(id, this.#clock.now.logicalMs + LATE_MS);
  }

  isDone(id: string): boolean {
    return (this.#done.get(id) ?? 0) > this.#clock.now.logicalMs;
  }

  /** A sign of life; it counts for owners of live leases only. */
  hear(owner: string): void {
    if (this.live.some(({ request }) => request.owner === owner)) this.#heard.set(owner, this.#clock.now.logicalMs);
  }

  /** What expires now: the oldest first, no more than one call may do, none while many owners are silent together. */
  due(): readonly ModelLease[] {
    const due = this.live
      .filter(({ expiresMs }) => expiresMs <= this.#clock.reapUntilMs)
      .toSorted((a, b) => a.expiresMs - b.expiresMs || (a.request.id < b.request.id ? -1 : 1))
      .slice(0, REAP_BUDGET);
    return due.length === 0 || this.#clock.manySilent(this.#lastHeard()) ? [] : due;
  }

  #lastHeard(): readonly number[] {
    const owners = new Set(this.live.map(({ request }) => request.owner));
    return [...owners].map((owner) => this.#heard.get(owner) ?? 0);
  }
}
