/** Signs of life: one beat for all leases and waits of this process on a tree, and what its answer changes. */
import { withDeadline } from '../base/abort.ts';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { BeatReply } from '../engine/port.ts';
import type { Moment, Lease } from './lease-state.ts';
import type { LeaseEngine, OpenEngine } from './metered-engine.ts';
import { refOf, type Registrar } from './registrar.ts';
import { momentOf, type TreeView } from './tree-view.ts';
import type { WaitingRoom } from './waiting-room.ts';

export interface PulseOptions {
  readonly engine: LeaseEngine;
  readonly opened: OpenEngine;
  readonly owner: string;
  readonly view: TreeView;
  readonly leases: ReadonlyMap<string, Lease>;
  readonly room: WaitingRoom;
  readonly registrar: Registrar;
  /** Whether Redis answered when it was last asked. */
  readonly store: { readonly downForMs: number | null };
  readonly clock: Clock;
  readonly log: Log;
  /** Redis no longer holds it. */
  readonly onLost: (lease: Lease) => void;
}

/** A beat that takes longer is tried again. */
const BEAT_TIMEOUT_MS = 2000;

export class Pulse {
  readonly #options: PulseOptions;

  constructor(options: PulseOptions) {
    this.#options = options;
  }

  /** Extends all leases and waits; tries once more on a fresh connection. Fails when Redis does not answer then either. */
  async beat(signal: AbortSignal): Promise<void> {
    try {
      await this.#beatOnce(signal);
    } catch (error) {
      await this.#reconnect(signal, error);
      await this.#beatOnce(signal);
    }
  }

  /** Asks Redis something small; fails when it does not answer, and then leaves a fresh connection for the next question. */
  async probe(signal: AbortSignal): Promise<void> {
    try {
      await this.#probeOnce(signal);
    } catch (error) {
      await this.#reconnect(signal, error);
      throw error;
    }
  }

  /** A connection that swallowed a question may swallow the next as well; one that brought an answer works. */
  async #reconnect(signal: AbortSignal, reason: unknown): Promise<void> {
    signal.throwIfAborted();
    if (isAnswer(reason)) throw reason;
    const { clock, log, opened } = this.#options;
    log.debug('lease.reconnecting', { code: AppError.from(reason).code });
    const limit = { ms: BEAT_TIMEOUT_MS, what: 'reconnecting to Redis', signal };
    await withDeadline(clock, limit, (bounded) => opened.reconnect(bounded));
  }

  async #probeOnce(signal: AbortSignal): Promise<void> {
    const { clock, engine } = this.#options;
    const limit = { ms: BEAT_TIMEOUT_MS, what: 'a question to Redis', signal };
    await withDeadline(clock, limit, (bounded) => engine.tick(bounded));
  }

  async #beatOnce(signal: AbortSignal): Promise<void> {
    const { clock, engine, owner, view, room, registrar, store } = this.#options;
    const all = [...this.#options.leases.values()];
    await registrar.putBack(all.filter(({ isLocal }) => isLocal));
    const held = all.filter(({ lost }) => !lost);
    const waiters = room.ids();
    if (held.length === 0 && waiters.length === 0) {
      // What is left to tell would wait for ever behind a connection that is dead and does not know it.
      if (store.downForMs !== null) await this.#probeOnce(signal);
      return;
    }
    const asked = momentOf(clock);
    const request = { owner, epoch: view.epoch, leases: held.map(refOf), waiters };
    const limit = { ms: BEAT_TIMEOUT_MS, what: 'a beat', signal };
    const reply = await withDeadline(clock, limit, (bounded) => engine.beat(request, bounded));
    if (reply.kind === 'epoch') return registrar.register(reply.epoch);
    await this.#heard(asked, held, reply);
  }

  async #heard(asked: Moment, held: readonly Lease[], reply: Extract<BeatReply, { kind: 'alive' }>): Promise<void> {
    const { view, room, leases, registrar, onLost } = this.#options;
    view.learn(asked, { serverNowMs: reply.serverNowMs, epoch: reply.epoch });
    view.owners = reply.owners;
    const lost = new Set(reply.lost);
    for (const lease of held) {
      if (lost.has(lease.request.id)) onLost(lease);
      else extend(lease, reply.serverNowMs, view.ttlMs);
    }
    room.heard(asked, reply);
    // One that was cut for it has ended by now.
    const running = held.filter((lease) => lease.lost && lease.sentAtMs !== null);
    await registrar.putBack(running.filter((lease) => leases.get(lease.request.id) === lease));
  }
}

function extend(lease: Lease, serverNowMs: number, ttlMs: number): void {
  lease.extendedAtMs = serverNowMs;
  lease.ttlMs = ttlMs;
}

/** Redis' own error reply, however the engine put it: its connection's failures have other names. */
export function isAnswer(reason: unknown): boolean {
  return reason instanceof Error && reason.cause instanceof Error && reason.cause.name === 'ReplyError';
}
