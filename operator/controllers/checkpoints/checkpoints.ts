/** Keeps each tree's counters outside Redis, and hands them out when Redis has lost them. */
import { AppError } from '../../../sidecar/base/errors.ts';
import type { Clock } from '../../../sidecar/base/clock.ts';
import type { Checkpoint } from '../../../sidecar/engine/port.ts';
import type { TreeSnapshot } from '../../../sidecar/engine/terms.ts';
import type { TreeConfig, TreeKey } from '../../../sidecar/engine/tree-terms.ts';
import type { TreeMetrics } from '../metrics.ts';
import { isDue, restorable, type StoredCheckpoint, takeCheckpoint } from './plan.ts';
import { type CheckpointPlace, readCheckpoint, writeCheckpoint } from './secrets.ts';

export interface CheckpointsOptions extends CheckpointPlace {
  readonly clock: Clock;
  readonly metrics: TreeMetrics;
}

interface Known {
  readonly checkpoint: StoredCheckpoint | null;
  /** Null: there is no such Secret, as far as we know. */
  readonly resourceVersion: string | null;
}

export class Checkpoints {
  readonly #options: CheckpointsOptions;
  readonly #known = new Map<TreeKey, Known>();

  constructor(options: CheckpointsOptions) {
    this.#options = options;
  }

  /** What was used of limits whose windows still run; null: nothing was ever stored. Fails when that cannot be told. */
  async recall(tree: TreeConfig, signal: AbortSignal): Promise<Checkpoint | null> {
    const { checkpoint } = await this.#read(tree.key, signal);
    return checkpoint === null ? null : restorable(checkpoint, tree, this.#options.clock.nowMs());
  }

  /** Stores what the snapshot says if that is worth a write. Never fails: the next look tries again. */
  async note(tree: TreeConfig, snapshot: TreeSnapshot, signal: AbortSignal): Promise<void> {
    const { clock, log, metrics } = this.#options;
    try {
      const known = this.#known.get(tree.key) ?? (await this.#read(tree.key, signal));
      const checkpoint = takeCheckpoint(tree, snapshot, clock.nowMs());
      if (!isDue(known.checkpoint, checkpoint, tree)) return;
      const write = { checkpoint, known: known.resourceVersion };
      const resourceVersion = await writeCheckpoint(this.#options, tree.key, write, signal);
      this.#known.set(tree.key, { checkpoint, resourceVersion });
      metrics.checkpoints.inc({ result: 'written' });
    } catch (reason) {
      if (signal.aborted) return;
      // Somebody else may have written: look again before the next write.
      this.#known.delete(tree.key);
      metrics.checkpoints.inc({ result: 'failed' });
      log.warn('checkpoint.failed', { tree: tree.key, cause: AppError.from(reason).message });
    }
  }

  async #read(key: TreeKey, signal: AbortSignal): Promise<Known> {
    const found = await readCheckpoint(this.#options, key, signal);
    const known = { checkpoint: found?.checkpoint ?? null, resourceVersion: found?.resourceVersion ?? null };
    this.#known.set(key, known);
    return known;
  }
}
