/** The leases acquired through LeaseService, until they end or lapse. */
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Outcome, Warning } from '../engine/terms.ts';
import type { HeldLease, TokenUsage } from '../leases/terms.ts';
import type { WorkUsage } from './requests.ts';

export interface BookedLease {
  /** The caller's id. The lease has another one, so that no id a caller makes up can name a lease of somebody else. */
  readonly id: string;
  readonly ttlMs: number;
  readonly warnings: readonly Warning[];
  /** Aborts when the lease is gone and its work must stop; not when its caller ends it. */
  readonly gone: AbortSignal;
}

/** What became of a lease; kept for a while, so that settling or cancelling twice changes nothing. */
export type Ending = 'settled' | 'settledLate' | 'cancelled' | 'lapsed';

interface Entry {
  readonly id: string;
  readonly lease: HeldLease;
  readonly estimate: TokenUsage;
  readonly gone: AbortController;
  /** Streams that keep it alive now. */
  keepers: number;
  /** Monotonic; counts while nobody keeps it. */
  lapsesAtMs: number;
  begun: boolean;
}

const MAX_LEASES = 10_000;
const MAX_ENDINGS = 10_000;
const SWEEP_MS = 500;

/** An error for a lease that is not here. */
function unknown(id: string): AppError {
  return new AppError('notFound', `no lease ${id} was acquired here`);
}

export class LeaseBook implements Disposable {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #entries = new Map<string, Entry>();
  readonly #endings = new Map<string, Ending>();
  readonly #stop = new AbortController();
  #sweeping = false;

  constructor(options: { readonly clock: Clock; readonly log: Log }) {
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** Enters a fresh lease under the caller's id. Fails with `exhausted` when 10,000 are open. */
  enter(id: string, lease: HeldLease, estimate: TokenUsage): BookedLease {
    if (this.#entries.size >= MAX_LEASES) throw new AppError('exhausted', `${MAX_LEASES} leases are open already`);
    const lapsesAtMs = this.#clock.monotonicMs() + lease.ttlMs;
    const entry = { id, lease, estimate, gone: new AbortController(), keepers: 0, lapsesAtMs, begun: false };
    this.#entries.set(id, entry);
    lease.signal.addEventListener('abort', () => this.#lapse(entry, 'lost or past its longest run time'), {
      once: true,
    });
    void this.#sweep();
    return booked(entry);
  }

  find(id: string): BookedLease | undefined {
    const entry = this.#entries.get(id);
    return entry && booked(entry);
  }

  ending(id: string): Ending | undefined {
    return this.#endings.get(id);
  }

  /**
   * Marks the work as begun and keeps the lease alive until the handle is disposed; from then on it has one lifetime.
   * Undefined: the lease is gone, its work must not go on.
   */
  async keep(id: string, signal: AbortSignal): Promise<(BookedLease & Disposable) | undefined> {
    const entry = this.#entries.get(id);
    if (!entry) return undefined;
    const keeping = this.#holdOpen(entry);
    try {
      if (await this.#begin(entry, signal)) return { ...booked(entry), [Symbol.dispose]: keeping.release };
    } catch (reason) {
      keeping.release();
      throw reason;
    }
    this.#lapse(entry, 'lost before its work began');
    return undefined;
  }

  /** Ends the lease by its use. Fails with `notFound` when it is not here, or nobody renewed it in time. */
  async settle(id: string, outcome: Outcome, { costUnits, ...usage }: WorkUsage): Promise<{ readonly late: boolean }> {
    const entry = this.#entries.get(id);
    if (!entry) return this.#settledBefore(id);
    this.#remove(entry, 'settled');
    // Work that was never announced by Renew began after all; when that can no longer be said, it is charged late.
    if (!entry.begun) await this.#begin(entry, this.#stop.signal).catch(() => false);
    if (outcome !== 'failedBeforeFirstByte') entry.lease.noteFirstByte();
    const { late } = await entry.lease.settle({ outcome, usage, responseModel: null, costUnits });
    if (late) this.#endings.set(id, 'settledLate');
    return { late };
  }

  /** Gives everything back. Fails with `notFound` as `settle`, with `conflict` once the work has begun. */
  async cancel(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    if (!entry) {
      if (this.#endings.get(id) === 'cancelled') return;
      throw this.#endings.has(id) ? new AppError('conflict', `lease ${id} has ended already`) : unknown(id);
    }
    if (entry.begun) throw new AppError('conflict', `the work of lease ${id} has begun: settle it`);
    this.#remove(entry, 'cancelled');
    await entry.lease.cancel();
  }

  /** Stops watching for lapses; what is open is left to the lease desk. */
  [Symbol.dispose](): void {
    this.#stop.abort(new AppError('unavailable', 'the sidecar is shutting down'));
  }

  #holdOpen(entry: Entry): { readonly release: () => void } {
    entry.keepers++;
    const release = (): void => {
      entry.keepers--;
      entry.lapsesAtMs = this.#clock.monotonicMs() + entry.lease.ttlMs;
    };
    return { release };
  }

  async #begin(entry: Entry, signal: AbortSignal): Promise<boolean> {
    if (!entry.begun) entry.begun = await entry.lease.start(signal);
    return entry.begun && !entry.lease.signal.aborted;
  }

  #settledBefore(id: string): { readonly late: boolean } {
    const ending = this.#endings.get(id);
    switch (ending) {
      case 'settled':
      case 'settledLate':
        return { late: ending === 'settledLate' };
      case 'cancelled':
        throw new AppError('conflict', `lease ${id} was cancelled`);
      case 'lapsed':
        throw new AppError('notFound', `lease ${id} lapsed before it was settled and was charged its estimate`);
      case undefined:
        throw unknown(id);
    }
  }

  #remove(entry: Entry, ending: Ending): void {
    this.#entries.delete(entry.id);
    this.#endings.set(entry.id, ending);
    for (const oldest of this.#endings.keys()) {
      if (this.#endings.size <= MAX_ENDINGS) break;
      this.#endings.delete(oldest);
    }
  }

  #lapse(entry: Entry, why: string): void {
    if (this.#entries.get(entry.id) !== entry) return;
    this.#remove(entry, 'lapsed');
    entry.gone.abort(new AppError('conflict', `lease ${entry.id} is gone`));
    this.#log.warn('lease.lapsed', { why });
    void this.#charge(entry);
  }

  /** Nobody can say what the work used: it is charged what it asked for. */
  async #charge(entry: Entry): Promise<void> {
    if (!entry.begun) await this.#begin(entry, this.#stop.signal).catch(() => false);
    await entry.lease.settle({ outcome: 'brokeMidStream', usage: entry.estimate, responseModel: null });
  }

  async #sweep(): Promise<void> {
    if (this.#sweeping) return;
    this.#sweeping = true;
    while (this.#entries.size > 0 && !this.#stop.signal.aborted) {
      await this.#clock.sleep(SWEEP_MS, this.#stop.signal).catch(() => undefined);
      const nowMs = this.#clock.monotonicMs();
      for (const entry of this.#entries.values()) {
        if (entry.keepers === 0 && entry.lapsesAtMs <= nowMs) this.#lapse(entry, 'not renewed');
      }
    }
    this.#sweeping = false;
  }
}

function booked({ id, lease, gone }: Entry): BookedLease {
  return { id, ttlMs: lease.ttlMs, warnings: lease.warnings, gone: gone.signal };
}
