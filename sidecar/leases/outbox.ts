/**
 * What Redis still has to be told, and the telling: settlements and cancellations stay here until one call was
 * answered. Nothing here throws; what fails waits for the next `flush`.
 */
import { AppError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Settlement, SettleReply } from '../engine/terms.ts';
import type { Lease } from './lease-state.ts';
import type { LeaseEngine } from './metered-engine.ts';
import type { SidecarMetrics } from './metrics.ts';

/** Beyond this many, the oldest are dropped: their reservations then stay charged when the leases expire (rule T4). */
const CAPACITY = 10_000;
/** Settlements that one call carries. */
const BATCH = 256;

interface Entry {
  readonly lease: Lease;
  readonly settlement: Settlement;
  /** A call that carries it is under way. */
  busy: boolean;
}

export interface OutboxOptions {
  readonly engine: LeaseEngine;
  readonly log: Log;
  readonly metrics: SidecarMetrics;
  /** Registers this process with Redis' new epoch. */
  readonly register: (epoch: number) => Promise<void>;
}

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #cancels = new Set<string>();
  readonly #underWay = new Set<Promise<unknown>>();
  #holding = false;

  constructor(options: OutboxOptions) {
    this.#options = options;
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
    const entry = { lease, settlement, busy: false };
    this.#entries.set(settlement.id, entry);
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > CAPACITY && oldest !== undefined) {
      this.#entries.delete(oldest);
      this.#options.metrics.settlementDropped();
    }
    if (this.#holding) return null;
    const [reply] = await this.#deliver([entry]);
    return reply ?? null;
  }

  /** Takes back an id whose acquire was never answered or whose grant was never used: now, or with the next flush. */
  async cancel(id: string, when: 'now' | 'later'): Promise<void> {
    this.#cancels.add(id);
    const [oldest] = this.#cancels;
    if (this.#cancels.size > CAPACITY && oldest !== undefined) this.#cancels.delete(oldest);
    if (when === 'now' && !this.#holding) await this.#deliverCancels([id]);
  }

  /** Ids to disclaim in a registration; `disclaimed` then forgets them. */
  unused(): readonly string[] {
    return [...this.#cancels];
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
    const cancels = this.#deliverCancels(this.unused(), signal);
    let more = true;
    while (more) {
      const batch = [...this.#entries.values()].filter((entry) => !entry.busy).slice(0, BATCH);
      more = batch.length > 0 && (await this.#deliver(batch, signal)).length > 0;
    }
    await cancels;
  }

  /** Resolves once no delivery is under way. */
  async delivered(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
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
    const telling = ids.map((id) => this.#options.engine.cancel(id, signal).then(() => id));
    const told = await this.#tracked(Promise.allSettled(telling));
    for (const each of told) if (each.status === 'fulfilled') this.#cancels.delete(each.value);
    this.#options.metrics.undelivered.set(this.size);
  }
}
