/** Keeps the snapshot in force up to date. */
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import { jitter } from '../base/ids.ts';
import type { Log } from '../base/log.ts';
import type { SidecarSnapshot, SnapshotSource } from './terms.ts';

export interface FollowOptions {
  readonly source: SnapshotSource;
  /** The snapshot in force; null: none, nothing may be granted. */
  readonly snapshots: Cell<SidecarSnapshot | null>;
  /** The operator's word that this pod gets nothing; null: it said no such thing. */
  readonly refusals: Cell<AppError | null>;
  readonly clock: Clock;
  readonly log: Log;
}

/** How often a refused pod asks whether it still is; up to half less, at random. */
const ASK_AGAIN_MS = 5_000;

/**
 * Puts every snapshot of the source into the cell until the signal aborts. While the source is refused (`forbidden`,
 * `unsupported`) the cell is null, `refusals` holds why, and the source is asked again every few seconds. Other failures of the source are
 * final and passed on.
 */
export async function followSnapshots(options: FollowOptions, signal: AbortSignal): Promise<void> {
  const { snapshots, refusals, clock, log } = options;
  while (!signal.aborted) {
    try {
      await applyAll(options, signal);
    } catch (reason) {
      const error = AppError.from(reason);
      if (error.code !== 'forbidden' && error.code !== 'unsupported') throw error;
      log.error('control.refused', { code: error.code, cause: error.message });
      refusals.set(error);
      if (snapshots.value !== null) snapshots.set(null);
      await clock.sleep(ASK_AGAIN_MS * (1 - jitter() / 2), signal).catch(() => undefined);
    }
  }
}

async function applyAll({ source, snapshots, refusals, log }: FollowOptions, signal: AbortSignal): Promise<void> {
  for await (const snapshot of source.watch(signal)) {
    if (snapshots.value === null) log.info('control.configured', { quota: snapshot.binding.quota });
    refusals.set(null);
    snapshots.set(snapshot);
  }
}
