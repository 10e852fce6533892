/** The engine with its function library kept in Redis: a Redis that came back empty has neither trees nor functions. */
import { AppError } from '../../sidecar/base/errors.ts';
import type { AdminEngine } from '../../sidecar/engine/port.ts';

type Kept = Omit<AdminEngine, 'loadLibrary'>;

export class KeptEngine implements Kept {
  readonly #engine: AdminEngine;
  /** Null: to be loaded before the next call. */
  #library: Promise<void> | null = null;

  constructor(engine: AdminEngine) {
    this.#engine = engine;
  }

  hashOf: Kept['hashOf'] = (tree) => this.#engine.hashOf(tree);
  configure: Kept['configure'] = async (...args) => this.#withLibrary(() => this.#engine.configure(...args));
  snapshot: Kept['snapshot'] = async (...args) => this.#withLibrary(() => this.#engine.snapshot(...args));
  config: Kept['config'] = async (...args) => this.#withLibrary(() => this.#engine.config(...args));
  fingerprint: Kept['fingerprint'] = async (...args) => this.#withLibrary(() => this.#engine.fingerprint(...args));
  audit: Kept['audit'] = async (...args) => this.#withLibrary(() => this.#engine.audit(...args));
  tick: Kept['tick'] = async (...args) => this.#withLibrary(() => this.#engine.tick(...args));
  reclaim: Kept['reclaim'] = async (...args) => this.#withLibrary(() => this.#engine.reclaim(...args));
  drain: Kept['drain'] = async (...args) => this.#withLibrary(() => this.#engine.drain(...args));
  declareMove: Kept['declareMove'] = async (...args) => this.#withLibrary(() => this.#engine.declareMove(...args));
  freeze: Kept['freeze'] = async (...args) => this.#withLibrary(() => this.#engine.freeze(...args));
  resetWindow: Kept['resetWindow'] = async (...args) => this.#withLibrary(() => this.#engine.resetWindow(...args));
  calibrate: Kept['calibrate'] = async (...args) => this.#withLibrary(() => this.#engine.calibrate(...args));

  async #withLibrary<T>(call: () => Promise<T>): Promise<T> {
    // Shared by all callers: none of them may cancel it for the others.
    this.#library ??= this.#engine.loadLibrary();
    const library = this.#library;
    try {
      await library;
      return await call();
    } catch (reason) {
      // Whatever went wrong, the Redis behind the connection may be another one now.
      if (this.#library === library && AppError.from(reason).code !== 'cancelled') this.#library = null;
      throw reason;
    }
  }
}
