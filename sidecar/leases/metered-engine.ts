/** The engine port with every call timed and counted, and the state of the store watched. */
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import type { SidecarEngine } from '../engine/port.ts';
import type { EngineCall, SidecarMetrics } from './metrics.ts';

/** The parts of the port that leases use. */
export type LeaseEngine = Pick<SidecarEngine, EngineCall | 'notices'>;

/** An engine for one tree over its own connection; disposing it closes the connection. */
export interface OpenEngine extends AsyncDisposable {
  readonly engine: LeaseEngine;
  /** Resolves once Redis can be asked; rejects with the signal's reason. */
  ready(signal: AbortSignal): Promise<void>;
  /** Drops a connection that does not answer; resolves once there is a new one. */
  reconnect(signal: AbortSignal): Promise<void>;
  /** Logs in with this password from the next connection on; the one that stands stays as it is. */
  authenticate(password: string): void;
}

/** Is told whether Redis answers. */
export interface StoreListener {
  answered(): void;
  away(): void;
}

export interface MeterOptions {
  readonly clock: Clock;
  readonly metrics: SidecarMetrics;
  readonly store: StoreListener;
}

export function meterEngine(engine: LeaseEngine, { clock, metrics, store }: MeterOptions): LeaseEngine {
  const metered = async <T>(name: EngineCall, work: () => Promise<T>): Promise<T> => {
    const startedMs = clock.monotonicMs();
    try {
      const answer = await work();
      metrics.engineCall(name, clock.monotonicMs() - startedMs);
      store.answered();
      return answer;
    } catch (error) {
      metrics.engineError(name);
      if (isAway(error)) store.away();
      throw error;
    }
  };
  return {
    acquire: (request, signal) => metered('acquire', () => engine.acquire(request, signal)),
    claim: (lease, options, signal) => metered('claim', () => engine.claim(lease, options, signal)),
    settle: (settlements, signal) => metered('settle', () => engine.settle(settlements, signal)),
    swap: (settlement, next, signal) => metered('swap', () => engine.swap(settlement, next, signal)),
    cancel: (id, options, signal) => metered('cancel', () => engine.cancel(id, options, signal)),
    beat: (request, signal) => metered('beat', () => engine.beat(request, signal)),
    tick: (signal) => metered('tick', () => engine.tick(signal)),
    register: (request, signal) => metered('register', () => engine.register(request, signal)),
    snapshot: (signal) => metered('snapshot', () => engine.snapshot(signal)),
    notices: (owner, signal, opened) => engine.notices(owner, signal, opened),
  };
}

/** Redis could not be asked, or could not tell; other failures are answers. */
export function isAway(reason: unknown): boolean {
  return reason instanceof AppError && (reason.code === 'unavailable' || reason.code === 'deadline');
}
