/** Reference model: leases, finished ids, holds and owners. Pure. */
import { ENGINE_CONSTANTS } from './constants.ts';
import type { ModelClock } from './model-clock.ts';
import type { ModelCharge, Slot } from './model-node.ts';
import type { AcquireRequest } from './terms.ts';

const { CLAIM_TTL_MS, TTL_MS, LATE_MS, REAP_BUDGET } = ENGINE_CONSTANTS;

export interface ModelLease {
  readonly request: AcquireRequest;
  readonly fence: number;
  readonly grantedMs: number;
  readonly grantedWallMs: number;
  readonly taken: readonly {
    readonly node: string;
    readonly number: number;
    readonly charges: readonly ModelCharge[];
  }[];
  readonly slot: Slot;
  /** Granted out of the queue. */
  readonly dispatched: boolean;
  /** Forgotten and told of again: when it was sent is not known. */
  readonly putBack: boolean;
  /** Its place in the queue; null: it never waited. */
  readonly seq: number | null;
  claimed: boolean;
  /** Holds its slots. */
  live: boolean;
  /** Its reserve has landed, because it expired. */
  landed: boolean;
  expiresMs: number;
}

/** Slots of a call that is over for everybody, because the vendor may still count it (rule T6). */
export interface Hold {
  /** Orders holds of the same time. */
  readonly name: string;
  readonly slot: Slot;
  readonly nodes: readonly string[];
  readonly untilMs: number;
}

interface Owner {
  heardMs: number;
  /** In which it registered, or got its first lease. */
  epoch: number;
}

export class ModelLeases {
  readonly #clock: ModelClock;
  readonly #leases = new Map<string, ModelLease>();
  readonly #done = new Map<string, number>();
  readonly #owners = new Map<string, Owner>();
  holds: readonly Hold[] = [];

  constructor(clock: ModelClock) {
    this.#clock = clock;
  }

  wipe(): void {
    for (const map of [this.#leases, this.#done, this.#owners]) map.clear();
    this.holds = [];
  }

  /** Goes on as leases were left. */
  resume(left: {
    readonly leases: readonly ModelLease[];
    readonly done: readonly (readonly [string, number])[];
    readonly owners: readonly (readonly [string, Owner])[];
  }): void {
    for (const lease of left.leases) this.#leases.set(lease.request.id, lease);
    for (const [id, untilMs] of left.done) this.#done.set(id, untilMs);
    for (const [name, owner] of left.owners) this.#owners.set(name, owner);
  }

  get live(): readonly ModelLease[] {
    return [...this.#leases.values()].filter(({ live }) => live);
  }

  /** How many owners hold live leases. */
  get owners(): number {
    return new Set(this.live.map(({ request }) => request.owner)).size;
  }

  add(lease: Omit<ModelLease, 'claimed' | 'live' | 'landed' | 'expiresMs'>): ModelLease {
    const { logicalMs } = this.#clock.now;
    const { owner } = lease.request;
    const expiresMs = logicalMs + (lease.slot.atVendor ? TTL_MS : CLAIM_TTL_MS);
    const added = { ...lease, claimed: false, live: true, landed: false, expiresMs };
    const known = this.#hasLive(owner) ? this.#owners.get(owner) : undefined;
    this.#leases.set(lease.request.id, added);
    this.#owners.set(owner, { epoch: known?.epoch ?? this.#clock.epoch, heardMs: logicalMs });
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

  /** A sign of life of whoever holds it. */
  extend(lease: ModelLease): void {
    lease.slot.atVendor = true;
    lease.expiresMs = this.#clock.now.logicalMs + TTL_MS;
  }

  /** The id may be used again. */
  forget(id: string): void {
    this.#leases.delete(id);
  }

  finish(id: string): void {
    this.#leases.delete(id);
    this.#done.set(id, this.#clock.now.logicalMs + LATE_MS);
  }

  isDone(id: string): boolean {
    return (this.#done.get(id) ?? 0) > this.#clock.now.logicalMs;
  }

  /** A sign of life; it counts for owners of live leases only. */
  hear(owner: string, registers: boolean): void {
    if (!this.#hasLive(owner)) return;
    const known = registers ? undefined : this.#owners.get(owner);
    this.#owners.set(owner, { epoch: known?.epoch ?? this.#clock.epoch, heardMs: this.#clock.now.logicalMs });
  }

  /**
   * Logical time until which nothing is granted (rule T7): owners are still to tell what they run, or there was no time yet
   * for those whose only grants were forgotten and whom nobody misses.
   */
  get learningUntilMs(): number | null {
    const { learnUntilMs, learnLeastMs, learnToEnd, now, epoch } = this.#clock;
    if (now.logicalMs >= learnUntilMs) return null;
    const missing = this.live.some(({ request }) => this.#owners.get(request.owner)?.epoch !== epoch);
    if (learnToEnd || missing) return learnUntilMs;
    return now.logicalMs < learnLeastMs ? learnLeastMs : null;
  }

  /** What expires now: the oldest first, no more than one call may do, none while many owners are silent together. */
  due(): readonly ModelLease[] {
    const due = this.inOrderOfExpiry()
      .filter(({ expiresMs }) => expiresMs <= this.#clock.reapUntilMs)
      .slice(0, REAP_BUDGET);
    return due.length === 0 || this.#clock.manySilent(this.#lastHeard()) ? [] : due;
  }

  inOrderOfExpiry(): readonly ModelLease[] {
    return this.live.toSorted((a, b) => a.expiresMs - b.expiresMs || (a.request.id < b.request.id ? -1 : 1));
  }

  hold(hold: Hold): void {
    const order = (a: Hold, b: Hold): number => a.untilMs - b.untilMs || (a.name < b.name ? -1 : 1);
    this.holds = [...this.holds, hold].toSorted(order);
  }

  /** Holds that are over, forgotten here. */
  endHolds(): readonly Hold[] {
    const over = this.holds.filter(({ untilMs }) => untilMs <= this.#clock.now.logicalMs).slice(0, REAP_BUDGET);
    this.holds = this.holds.filter((hold) => !over.includes(hold));
    return over;
  }

  endHold(name: string): Hold | undefined {
    const found = this.holds.find((hold) => hold.name === name);
    this.holds = this.holds.filter((hold) => hold !== found);
    return found;
  }

  #hasLive(owner: string): boolean {
    return this.live.some(({ request }) => request.owner === owner);
  }

  #lastHeard(): readonly number[] {
    const owners = new Set(this.live.map(({ request }) => request.owner));
    return [...owners].map((owner) => this.#owners.get(owner)?.heardMs ?? 0);
  }
}
