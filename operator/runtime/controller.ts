/**
 * Runs a reconcile function over the keys of a queue. Level-based: a key says only what to look at. What a
 * reconciliation returns or throws decides when its key comes again; nothing it does ends the process.
 */
import { withDeadline } from '../../sidecar/base/abort.ts';
import type { Clock } from '../../sidecar/base/clock.ts';
import { AppError, type Code } from '../../sidecar/base/errors.ts';
import type { Log } from '../../sidecar/base/log.ts';
import type { ReconcileResult, RuntimeMetrics } from './metrics.ts';
import { type QueueLimits, WorkQueue } from './work-queue.ts';

export type Outcome =
  /** As wished; comes again when something changes. */
  | { readonly kind: 'done' }
  /** As wished for now; look again after this time. */
  | { readonly kind: 'again'; readonly afterMs: number };

export const DONE: Outcome = { kind: 'done' };

/** Works on one key until it is as wished; a thrown AppError is treated by its code. */
export type Reconcile = (key: string, signal: AbortSignal) => Promise<Outcome>;

/** What becomes of a key whose reconciliation failed. */
const AFTER_FAILURE: Readonly<Record<Code, 'retry' | 'wait' | 'drop'>> = {
  // Nothing changes by trying again: the next change of the object brings the key back.
  invalid: 'wait',
  unsupported: 'wait',
  tooLarge: 'wait',
  unauthenticated: 'retry',
  forbidden: 'retry',
  notFound: 'retry',
  conflict: 'retry',
  exhausted: 'retry',
  unavailable: 'retry',
  deadline: 'retry',
  internal: 'retry',
  // We were told to stop.
  cancelled: 'drop',
};

export interface ControllerOptions {
  readonly name: string;
  readonly reconcile: Reconcile;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics?: RuntimeMetrics;
  /** Reconciliations at once, of different keys. */
  readonly concurrency?: number;
  /** One reconciliation may take this long. */
  readonly deadlineMs?: number;
  /** How long reconciliations under way may go on once the controller is told to stop. */
  readonly drainMs?: number;
  readonly limits?: Partial<QueueLimits>;
}

export class Controller {
  readonly queue: WorkQueue;
  readonly #options: ControllerOptions;
  readonly #log: Log;

  constructor(options: ControllerOptions) {
    const { name, clock, metrics, limits } = options;
    this.#options = options;
    this.#log = options.log.with({ controller: name });
    this.queue = new WorkQueue({ name, clock, ...(metrics && { metrics }), ...(limits && { limits }) });
  }

  /**
   * Works until the signal aborts, then waits until what is under way has ended or `drainMs` is over; never fails.
   * `abandon` (a lost leadership) ends what is under way at once.
   */
  async run(signal: AbortSignal, abandon?: AbortSignal): Promise<void> {
    const drained = new AbortController();
    const work = AbortSignal.any([drained.signal, ...(abandon ? [abandon] : [])]);
    const stop = (): void => this.queue.close();
    const either = AbortSignal.any([signal, ...(abandon ? [abandon] : [])]);
    if (either.aborted) stop();
    either.addEventListener('abort', stop, { once: true });
    const workers = Array.from({ length: this.#options.concurrency ?? 1 }, () => this.#work(work));
    const all = Promise.all(workers);
    const stopped = Promise.withResolvers<void>();
    if (either.aborted) stopped.resolve();
    either.addEventListener('abort', () => stopped.resolve(), { once: true });
    await Promise.race([all, stopped.promise]);
    const limit = { ms: this.#options.drainMs ?? 30_000, what: 'draining' };
    await withDeadline(this.#options.clock, limit, () => all).catch(() => undefined);
    drained.abort(new AppError('cancelled', 'the controller stopped'));
    await all;
  }

  async #work(signal: AbortSignal): Promise<void> {
    for (let key = await this.queue.take(); key !== undefined; key = await this.queue.take()) {
      await this.#one(key, signal);
      this.queue.done(key);
    }
  }

  async #one(key: string, signal: AbortSignal): Promise<void> {
    const { name, clock, metrics } = this.#options;
    const started = clock.monotonicMs();
    metrics?.activeWorkers.inc({ controller: name });
    const result = await this.#attempt(key, signal);
    metrics?.activeWorkers.dec({ controller: name });
    metrics?.reconciles.inc({ controller: name, result });
    metrics?.reconcileSeconds.observe({ controller: name }, (clock.monotonicMs() - started) / 1000);
  }

  async #attempt(key: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { clock, deadlineMs, reconcile } = this.#options;
    try {
      const limit = { ms: deadlineMs ?? 60_000, what: `reconciling ${key}`, signal };
      const outcome = await withDeadline(clock, limit, (each) => reconcile(key, each));
      this.queue.forget(key);
      if (outcome.kind === 'done') return 'success';
      this.queue.addAfter(key, outcome.afterMs);
      return 'requeue_after';
    } catch (reason) {
      return this.#failed(key, AppError.from(reason), signal);
    }
  }

  #failed(key: string, error: AppError, signal: AbortSignal): ReconcileResult {
    const fate = signal.aborted ? 'drop' : AFTER_FAILURE[error.code];
    if (fate === 'drop') return 'cancelled';
    if (fate === 'wait') {
      this.queue.forget(key);
      this.#log.error('reconcile.gaveUp', { key, code: error.code, cause: error.message });
      return 'terminal_error';
    }
    this.queue.addRateLimited(key);
    const fields = { key, code: error.code, cause: error.message, failures: this.queue.failures(key) };
    if (error.transient) this.#log.warn('reconcile.failed', fields);
    else this.#log.error('reconcile.failed', fields);
    return 'error';
  }
}
