/**
 * One writer at a time, by a Lease of coordination.k8s.io. Expiry is judged by how long the record stayed the same on
 * our own monotonic clock, never by comparing the clocks of two machines. As a process can be paused past any timeout,
 * leading alone makes no write safe: every term carries a fence by which stores refuse its predecessors.
 */
import { withDeadline } from '../../sidecar/base/abort.ts';
import type { Clock } from '../../sidecar/base/clock.ts';
import { AppError } from '../../sidecar/base/errors.ts';
import { jitter, newId } from '../../sidecar/base/ids.ts';
import type { Log } from '../../sidecar/base/log.ts';
import { isAlreadyExists } from './api-errors.ts';
import type { KubeClient } from './client.ts';
import { asLease, type Lease, LEASES, type LeaseRecord, leaseIntent } from './lease.ts';
import type { RuntimeMetrics } from './metrics.ts';
import type { KubeObject } from './resources.ts';

export interface LeaderTimings {
  /** A record unchanged for this long may be taken over. */
  readonly durationMs: number;
  /** A leader that could not renew for this long stops; less than `durationMs`. */
  readonly renewDeadlineMs: number;
  readonly retryMs: number;
}

export const LEADER_TIMINGS: LeaderTimings = { durationMs: 15_000, renewDeadlineMs: 10_000, retryMs: 2000 };

export interface LeaderOptions {
  readonly client: Pick<KubeClient, 'get' | 'create' | 'replace'>;
  readonly lease: { readonly namespace: string; readonly name: string };
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics?: RuntimeMetrics;
  readonly timings?: Partial<LeaderTimings>;
  /** Goes before a fresh suffix into the holder's identity, such as the pod's name. */
  readonly identityPrefix?: string;
}

/** Orders terms: of two, the one with the later creation time, then the more transitions, is the newer. */
export interface Fence {
  /** When the Lease object was made, milliseconds: a deleted and re-created one counts its transitions anew. */
  readonly leaseCreatedMs: number;
  readonly transitions: number;
}

export interface Term {
  readonly fence: Fence;
  /** Aborts when the term is lost: everything must stop at once. */
  readonly lost: AbortSignal;
  /** Gives the term up, for example because a store said that there is a newer one. */
  resign(reason: AppError): void;
}

export class LeaderElection {
  readonly identity: string;
  readonly #options: LeaderOptions;
  readonly #timings: LeaderTimings;
  readonly #log: Log;
  /** The record as last seen, and when it last changed, by our clock. */
  #observed: { readonly lease: Lease; readonly atMs: number } | null = null;

  constructor(options: LeaderOptions) {
    this.#options = options;
    this.#timings = { ...LEADER_TIMINGS, ...options.timings };
    // Fresh for every process: its own earlier term must count as another's, or a transition would be missed.
    this.identity = options.identityPrefix ? `${options.identityPrefix}_${newId()}` : newId();
    this.#log = options.log.with({ lease: options.lease.name, identity: this.identity });
  }

  /**
   * Waits for the lease, then runs `lead` until it ends, the term is lost or the signal aborts. On the signal `lead`
   * is expected to end by itself (it is given the same signal's effect by its caller); the lease is renewed meanwhile
   * and released afterwards. Resolves without leading when the signal aborts first; fails when the term was lost.
   */
  async run(signal: AbortSignal, lead: (term: Term) => Promise<void>): Promise<void> {
    const won = await this.#campaign(signal);
    if (won === null) return;
    const { lease, sinceMs } = won;
    const lost = new AbortController();
    const ended = new AbortController();
    const resign = (reason: AppError): void => lost.abort(reason);
    const fence = { leaseCreatedMs: lease.createdMs, transitions: lease.record.transitions };
    this.#log.info('leader.acquired', { ...fence });
    this.#lead(1);
    const renewing = this.#renewUntil(lost, ended.signal, sinceMs);
    try {
      await lead({ fence, lost: lost.signal, resign });
    } finally {
      this.#lead(0);
      ended.abort();
      await renewing;
      if (!lost.signal.aborted) await this.#release();
    }
    if (lost.signal.aborted) throw AppError.from(lost.signal.reason);
  }

  #lead(value: 0 | 1): void {
    this.#options.metrics?.leading.set({ name: this.#options.lease.name }, value);
  }

  async #campaign(signal: AbortSignal): Promise<{ lease: Lease; sinceMs: number } | null> {
    while (!signal.aborted) {
      // Others count from the moment the server wrote; before our sending is the safe side of it.
      const sinceMs = this.#options.clock.monotonicMs();
      try {
        const lease = await this.#tryAcquire(signal);
        if (lease !== null) return { lease, sinceMs };
      } catch (reason) {
        if (signal.aborted) break;
        const error = AppError.from(reason);
        this.#log.warn('leader.tryFailed', { code: error.code, cause: error.message });
      }
      await this.#options.clock.sleep(this.#timings.retryMs * (1 + 0.2 * jitter()), signal).catch(() => undefined);
    }
    return null;
  }

  /** The lease when it is ours now, null when somebody else has it or was quicker. */
  async #tryAcquire(signal: AbortSignal): Promise<Lease | null> {
    const { client, lease: key } = this.#options;
    const found = await client.get(LEASES, key, { signal });
    if (found === null) {
      return this.#write(async () => client.create(LEASES, leaseIntent(key, this.#record(0)), { signal }));
    }
    const current = this.#observe(asLease(found));
    if (!this.#mayTake(current)) return null;
    const intent = leaseIntent(key, this.#record(current.record.transitions + 1), current.resourceVersion);
    return this.#write(async () => client.replace(LEASES, intent, { signal }));
  }

  /** Null when another writer was quicker. */
  async #write(send: () => Promise<KubeObject>): Promise<Lease | null> {
    try {
      return this.#observe(asLease(await send()));
    } catch (reason) {
      if (reason instanceof AppError && (reason.code === 'conflict' || isAlreadyExists(reason))) return null;
      throw reason;
    }
  }

  #record(transitions: number): LeaseRecord {
    const nowMs = this.#options.clock.nowMs();
    return {
      holder: this.identity,
      durationSeconds: Math.ceil(this.#timings.durationMs / 1000),
      acquiredMs: nowMs,
      renewedMs: nowMs,
      transitions,
    };
  }

  #observe(lease: Lease): Lease {
    if (this.#observed?.lease.resourceVersion !== lease.resourceVersion) {
      this.#observed = { lease, atMs: this.#options.clock.monotonicMs() };
    }
    return lease;
  }

  #mayTake(lease: Lease): boolean {
    if (lease.record.holder === '' || lease.record.holder === this.identity) return true;
    const seenForMs = this.#options.clock.monotonicMs() - (this.#observed?.atMs ?? this.#options.clock.monotonicMs());
    // The holder's own duration counts: it may have been configured longer than ours.
    return seenForMs >= Math.max(lease.record.durationSeconds * 1000, this.#timings.durationMs);
  }

  async #renewUntil(lost: AbortController, ended: AbortSignal, sinceMs: number): Promise<void> {
    const { clock } = this.#options;
    let renewedAtMs = sinceMs;
    while (!ended.aborted && !lost.signal.aborted) {
      await clock.sleep(this.#timings.retryMs, AbortSignal.any([ended, lost.signal])).catch(() => undefined);
      if (ended.aborted || lost.signal.aborted) return;
      const startedMs = clock.monotonicMs();
      const leftMs = this.#timings.renewDeadlineMs - (startedMs - renewedAtMs);
      const outcome = leftMs <= 0 ? 'failed' : await this.#renew(leftMs, ended);
      if (outcome === 'renewed') renewedAtMs = startedMs;
      else if (outcome === 'taken' || clock.monotonicMs() - renewedAtMs >= this.#timings.renewDeadlineMs) {
        const why = outcome === 'taken' ? 'another process took the lease' : 'the lease could not be renewed in time';
        this.#log.error('leader.lost', { cause: why });
        lost.abort(new AppError('conflict', why));
      }
    }
  }

  async #renew(leftMs: number, ended: AbortSignal): Promise<'renewed' | 'failed' | 'taken'> {
    const { client, clock, lease: key } = this.#options;
    try {
      return await withDeadline(clock, { ms: leftMs, what: 'renewing the lease', signal: ended }, async (signal) => {
        const found = await client.get(LEASES, key, { signal });
        if (found === null) return 'taken';
        const current = this.#observe(asLease(found));
        if (current.record.holder !== this.identity) return 'taken';
        const record = { ...current.record, renewedMs: clock.nowMs() };
        const written = await client.replace(LEASES, leaseIntent(key, record, current.resourceVersion), { signal });
        this.#observe(asLease(written));
        return 'renewed';
      });
    } catch (reason) {
      const error = AppError.from(reason);
      if (!ended.aborted) this.#log.warn('leader.renewFailed', { code: error.code, cause: error.message });
      return 'failed';
    }
  }

  /** Empties the record so that the next process need not wait; best effort, as expiry does the same later. */
  async #release(): Promise<void> {
    const { client, clock, lease: key } = this.#options;
    try {
      await withDeadline(clock, { ms: 5000, what: 'releasing the lease' }, async (signal) => {
        const found = await client.get(LEASES, key, { signal });
        const current = found === null ? null : asLease(found);
        if (current?.record.holder !== this.identity) return;
        const record = { ...current.record, holder: '', durationSeconds: 1, renewedMs: clock.nowMs() };
        await client.replace(LEASES, leaseIntent(key, record, current.resourceVersion), { signal });
        this.#log.info('leader.released');
      });
    } catch (reason) {
      this.#log.warn('leader.releaseFailed', { cause: AppError.from(reason).message });
    }
  }
}
