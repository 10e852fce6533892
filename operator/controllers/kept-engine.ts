/** The engine with its function library kept in Redis: a Redis that came back empty has neither trees nor functions. */
import { AppError } from '../../sidecar/base/errors.ts';
import type { AdminEngine, ConfigureOptions } from '../../sidecar/engine/port.ts';
import type { ConfigureReply, Revision, TreeConfig, TreeKey, TreeSnapshot } from '../../sidecar/engine/terms.ts';

type Kept = Pick<AdminEngine, 'configure' | 'snapshot' | 'config' | 'hashOf'>;

export class KeptEngine implements Kept {
  readonly #engine: Kept & Pick<AdminEngine, 'loadLibrary'>;
  /** Null: to be loaded before the next call. */
  #library: Promise<void> | null = null;

  constructor(engine: Kept & Pick<AdminEngine, 'loadLibrary'>) {
    this.#engine = engine;
  }

  hashOf(tree: TreeConfig): string {
    return this.#engine.hashOf(tree);
  }

  async configure(
    tree: TreeConfig,
    revision: Revision,
    options?: ConfigureOptions,
    signal?: AbortSignal,
  ): Promise<ConfigureReply> {
    return this.#withLibrary(() => this.#engine.configure(tree, revision, options, signal));
  }

  async snapshot(key: TreeKey, signal?: AbortSignal): Promise<TreeSnapshot | null> {
    return this.#withLibrary(() => this.#engine.snapshot(key, signal));
  }

  async config(key: TreeKey, signal?: AbortSignal): Promise<TreeConfig | null> {
    return this.#withLibrary(() => this.#engine.config(key, signal));
  }

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
