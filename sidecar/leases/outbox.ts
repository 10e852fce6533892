/**
 * What Redis still has to be told, and the telling: settlements and cancellations stay here until one call was
 * answered. Nothing here throws; what fails waits for the next `flush`.
 */
import { AppError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { AcquireRequest, Settlement, SettleReply, Verdict } from '../engine/terms.ts';
import { canMerge, type Ended, merged } from './journal.ts';
import type { Lease } from './lease-state.ts';
import type { LeaseEngine } from './metered-engine.ts';
import type { SidecarMetrics } from './metrics.ts';

/**
 * Beyond this many, the oldest are dropped: their reservations then stay charged when the leases expire (rule T4). Those
 * of calls that Redis never granted are merged instead.
 */
const CAPACITY = 10_000;
/** Settlements that one call carries. */
const BATCH = 256;

interface Entry extends Ended {
  /** A call that carries it is under way. */
  busy: boolean;
}

export interface OutboxOptions {
  readonly engine: LeaseEngine;
  readonly log: Log;
  readonly metrics: SidecarMetrics;
  /** Registers this process with Redis' new epoch. */
  readonly register: (epoch: number) => Promise<void>;
  /** Tells Redis of leases it has not heard of: else it would take their settlements for nobody's. */
  readonly introduce: (leases: readonly Lease[]) => Promise<void>;
  /** Settlements that are kept; default 10,000. */
  readonly capacity?: number;
}

export interface CancelOptions {
  /** With the next flush, not at once. */
  readonly later?: boolean;
  /** The caller of a waiting call may come back for its place. */
  readonly keepPlace?: boolean;
}

export interface Swapped {
  /** Null: it is kept for the next flush. */
  readonly settled: SettleReply | null;
  /** Null: nothing was asked. */
  readonly verdict: Verdict | null;
}

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #capacity: number;
  readonly #entries = new Map<string, Entry>();
  /** Id → whether its place is kept. */
  readonly #cancels = new Map<string, boolean>();
  readonly #underWay = new Set<Promise<unknown>>();
  #holding = false;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#capacity = options.capacity ?? CAPACITY;
  }

  get size(): number {
    return this.#entries.size + this.#cancels.size;
  }

  /** Leases of undelivered settlements: a registration must put them back before they can be settled. */
  leases(): readonly Lease[] {
    return [...this.#entries.values()].map((entry) => entry.lease);
  }

  /** Delivers at once, or keeps it for the next flush. Null: kept. */
  async settle(lease: Lease, settlement: Settlement): Promise<SettleReply | null> {
    const entry = this.#keep(lease, settlement);
    if (this.#holding) return null;
    const [reply] = await this.#deliver([entry]);
    return reply ?? null;
  }

  /** As `settle`, and asks for another call in the same trip where that can be. */
  async swap(lease: Lease, settlement: Settlement, next: AcquireRequest): Promise<Swapped> {
    const entry = this.#keep(lease, settlement);
    if (this.#holding) return { settled: null, verdict: null };
    if (!lease.isLocal) {
      const swapped = await this.#tracked(this.#swapNow(entry, next));
      if (swapped !== 'apart') return swapped;
    }
    const [settled] = await this.#deliver([entry]);
    return { settled: settled ?? null, verdict: null };
  }

  /** Takes back an id that waits, whose acquire was never answered or whose grant was never used. */
  async cancel(id: string, { later = false, keepPlace = false }: CancelOptions = {}): Promise<void> {
    this.#cancels.set(id, keepPlace);
    const [oldest] = this.#cancels.keys();
    if (this.#cancels.size > CAPACITY && oldest !== undefined) this.#cancels.delete(oldest);
    if (!later && !this.#holding) await this.#deliverCancels([id]);
  }

  /** Ids to disclaim in a registration; `disclaimed` then forgets them. */
  unused(): readonly string[] {
    return [...this.#cancels.keys()];
  }

  disclaimed(ids: readonly string[]): void {
    for (const id of ids) this.#cancels.delete(id);
  }

  /** From now on everything is only collected, for one `flush` to deliver together. */
  hold(): void {
    this.#holding = true;
  }

  /** Delivers what waits, settlements in as few calls as they need. */
  async flush(signal?: AbortSignal): Promise<void> {
    let more = true;
    while (more) {
      const batch = [...this.#entries.values()].filter((entry) => !entry.busy).slice(0, BATCH);
      more = batch.length > 0 && (await this.#deliver(batch, signal)).length > 0;
    }
    // Afterwards, because a settled id has nothing to refund: a cancellation before would refund what was used.
    await this.#deliverCancels(this.unused(), signal);
  }

  /** Resolves once no delivery is under way. */
  async delivered(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
  }

  #keep(lease: Lease, settlement: Settlement): Entry {
    const entry = { lease, settlement, busy: false };
    this.#entries.set(settlement.id, entry);
    if (this.#entries.size > this.#capacity) this.#makeRoom();
    return entry;
  }

  /** What this process has let start itself is not forgotten: two such calls become one. Else the oldest goes. */
  #makeRoom(): void {
    const [oldest, ...later] = this.#entries.values();
    if (oldest === undefined) return;
    this.#entries.delete(oldest.settlement.id);
    const twin = oldest.busy ? undefined : later.find((each) => !each.busy && canMerge(oldest, each));
    if (twin === undefined) return this.#options.metrics.settlementDropped();
    this.#entries.set(twin.settlement.id, { ...merged(twin, oldest), busy: false });
  }

  /** `apart`: both have to be told by themselves. */
  async #swapNow(entry: Entry, next: AcquireRequest): Promise<Swapped | 'apart'> {
    const { engine, register, log } = this.#options;
    entry.busy = true;
    try {
      const { settled, verdict } = await engine.swap(entry.settlement, next);
      if (settled.kind === 'epoch') {
        await register(settled.epoch);
        return 'apart';
      }
      this.#entries.delete(entry.settlement.id);
      return { settled, verdict };
    } catch (error) {
      const { code } = AppError.from(error);
      if (code === 'invalid') return 'apart';
      log.warn('settle.deferred', { code, waiting: this.#entries.size });
      return { settled: null, verdict: null };
    } finally {
      entry.busy = false;
    }
  }

  /** Empty: not delivered. */
  #deliver(entries: readonly Entry[], signal?: AbortSignal): Promise<readonly SettleReply[]> {
    return this.#tracked(this.#tell(entries, signal));
  }

  async #tracked<T>(delivery: Promise<T>): Promise<T> {
    this.#underWay.add(delivery);
    try {
      return await delivery;
    } finally {
      this.#underWay.delete(delivery);
    }
  }

  async #tell(entries: readonly Entry[], signal?: AbortSignal): Promise<readonly SettleReply[]> {
    const { engine, register, log } = this.#options;
    const settlements = entries.map((entry) => entry.settlement);
    for (const entry of entries) entry.busy = true;
    try {
      const unheard = entries.filter(({ lease }) => lease.isLocal);
      if (unheard.length > 0) await this.#options.introduce(unheard.map(({ lease }) => lease));
      let replies = await engine.settle(settlements, signal);
      const moved = replies.find((reply) => reply.kind === 'epoch');
      if (moved !== undefined) {
        await register(moved.epoch);
        replies = await engine.settle(settlements, signal);
      }
      if (replies.some((reply) => reply.kind === 'epoch')) return [];
      for (const { settlement } of entries) this.#entries.delete(settlement.id);
      return replies;
    } catch (error) {
      const { code } = AppError.from(error);
      if (code === 'invalid') return await this.#withoutInvalid(entries, signal);
      log.warn('settle.deferred', { code, waiting: this.#entries.size });
      return [];
    } finally {
      for (const entry of entries) entry.busy = false;
      this.#options.metrics.undelivered.set(this.size);
    }
  }

  /** One settlement that is refused for itself must not keep back the others of its call: it alone is given up. */
  async #withoutInvalid(entries: readonly Entry[], signal?: AbortSignal): Promise<readonly SettleReply[]> {
    const [only] = entries;
    if (entries.length > 1 || only === undefined) {
      return (await Promise.all(entries.map((entry) => this.#tell([entry], signal)))).flat();
    }
    const { id } = only.settlement;
    this.#entries.delete(id);
    this.#options.metrics.settlementDropped();
    this.#options.log.error('settle.refused', { id });
    return [];
  }

  async #deliverCancels(ids: readonly string[], signal?: AbortSignal): Promise<void> {
    const telling = ids.map(async (id) => {
      await this.#options.engine.cancel(id, { keepPlace: this.#cancels.get(id) ?? false }, signal);
      return id;
    });
    const told = await this.#tracked(Promise.allSettled(telling));
    for (const each of told) if (each.status === 'fulfilled') this.#cancels.delete(each.value);
    this.#options.metrics.undelivered.set(this.size);
  }
}
