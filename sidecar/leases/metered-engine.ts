/** The engine port with every call timed and counted. */
import type { Clock } from '../base/clock.ts';
import type { SidecarEngine } from '../engine/port.ts';
import type { EngineCall, SidecarMetrics } from './metrics.ts';

/** The parts of the port that leases use. */
export type LeaseEngine = Pick<SidecarEngine, EngineCall>;

/** An engine for one tree over its own connection; disposing it closes the connection. */
export interface OpenEngine extends AsyncDisposable {
  readonly engine: LeaseEngine & Pick<SidecarEngine, 'snapshot'>;
  /** Resolves once Redis can be asked; rejects with the signal's reason. */
  ready(signal: AbortSignal): Promise<void>;
  /** Drops a connection that does not answer; resolves once there is a new one. */
  reconnect(signal: AbortSignal): Promise<void>;
}

export function meterEngine(engine: LeaseEngine, clock: Clock, metrics: SidecarMetrics): LeaseEngine {
  const metered = async <T>(name: EngineCall, work: () => Promise<T>): Promise<T> => {
    const startedMs = clock.monotonicMs();
    try {
      const answer = await work();
      metrics.engineCall(name, clock.monotonicMs() - startedMs);
      return answer;
    } catch (error) {
      metrics.engineError(name);
      throw error;
    }
  };
  return {
    acquire: (request, signal) => metered('acquire', () => engine.acquire(request, signal)),
    claim: (lease, signal) => metered('claim', () => engine.claim(lease, signal)),
    settle: (settlements, signal) => metered('settle', () => engine.settle(settlements, signal)),
    cancel: (id, signal) => metered('cancel', () => engine.cancel(id, signal)),
    beat: (request, signal) => metered('beat', () => engine.beat(request, signal)),
    register: (request, signal) => metered('register', () => engine.register(request, signal)),
  };
}
