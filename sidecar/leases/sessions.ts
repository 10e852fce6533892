/** The trees this process talks with: one, and while leases of an earlier binding still run, that one's too. */
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { SidecarSnapshot } from '../control/terms.ts';
import type { TreeSnapshot } from '../engine/terms.ts';
import { AppError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { beatForever } from './heartbeat.ts';
import type { Lease } from './lease-state.ts';
import type { OpenEngine } from './metered-engine.ts';
import type { SidecarMetrics } from './metrics.ts';
import { TreeSession } from './tree-session.ts';

export interface SessionsOptions {
  readonly openEngine: (snapshot: SidecarSnapshot) => OpenEngine;
  /** Names this process; each session adds a suffix of its own. */
  readonly processId: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: SidecarMetrics;
  readonly onLost: (lease: Lease) => void;
}

interface Open {
  readonly key: string;
  readonly session: TreeSession;
  readonly opened: OpenEngine;
  readonly stop: AbortController;
  readonly beating: Promise<void>;
}

/** How often a session that is no longer used is asked whether its last lease has ended. */
const RETIRE_POLL_MS = 1000;

export class Sessions implements AsyncDisposable {
  readonly #options: SessionsOptions;
  readonly #open = new Set<Open>();
  #current: Open | null = null;
  #snapshot: SidecarSnapshot | null = null;

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /** The session for a snapshot's tree and Redis; the one of an earlier tree lives on until its leases have ended. */
  of(snapshot: SidecarSnapshot): TreeSession {
    return this.#of(snapshot).session;
  }

  /** The tree as Redis has it; null: it holds none. Fails with `unavailable` when Redis cannot be asked. */
  async read(snapshot: SidecarSnapshot, signal: AbortSignal): Promise<TreeSnapshot | null> {
    return this.#of(snapshot).opened.engine.snapshot(signal);
  }

  #of(snapshot: SidecarSnapshot): Open {
    if (this.#current !== null && snapshot === this.#snapshot) return this.#current;
    const key = keyOf(snapshot);
    if (this.#current?.key !== key) {
      const before = this.#current;
      this.#current = this.#start(key, snapshot);
      if (before !== null) void this.#retire(before);
    } else {
      this.renew(snapshot);
    }
    this.#snapshot = snapshot;
    return this.#current;
  }

  /** A new password for the Redis that is in use: leases and waits stay where they are. */
  renew(snapshot: SidecarSnapshot): void {
    const { password } = snapshot.redis;
    if (this.#current === null || password === null || this.#current.key !== keyOf(snapshot)) return;
    this.#current.opened.authenticate(password);
  }

  all(): readonly TreeSession[] {
    return [...this.#open].map(({ session }) => session);
  }

  /** Stops all beats and closes all connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#open].map((open) => this.#close(open)));
  }

  #start(key: string, snapshot: SidecarSnapshot): Open {
    const { processId, clock, log, metrics, onLost } = this.#options;
    const opened = this.#connect(snapshot);
    const owner = `${processId}/${newId()}`;
    const session = new TreeSession({ opened, owner, clock, log, metrics, onLost });
    const stop = new AbortController();
    const open = { key, session, opened, stop, beating: beatForever(session, clock, stop.signal) };
    this.#open.add(open);
    return open;
  }

  #connect(snapshot: SidecarSnapshot): OpenEngine {
    try {
      return this.#options.openEngine(snapshot);
    } catch (cause) {
      this.#options.log.error('redis.unusable', { cause: AppError.from(cause).message });
      throw new AppError('unavailable', 'the quota store is configured in a way that cannot be used', { cause });
    }
  }

  async #retire(open: Open): Promise<void> {
    const { signal } = open.stop;
    open.session.moved();
    while (!open.session.idle && !signal.aborted) {
      await this.#options.clock.sleep(RETIRE_POLL_MS, signal).catch(() => undefined);
    }
    await this.#close(open);
  }

  async #close(open: Open): Promise<void> {
    if (!this.#open.delete(open)) return;
    open.stop.abort();
    open.session[Symbol.dispose]();
    await open.beating;
    await open.opened[Symbol.asyncDispose]();
  }
}

/** Which Redis and tree, and as whom; the password may change. */
function keyOf({ binding, redis: { password, ...redis } }: SidecarSnapshot): string {
  return JSON.stringify([binding.treeKey, redis, password === null]);
}
