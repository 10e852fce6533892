/**
 * Ticks every tree in which somebody waits, once a second. Sidecars ask for ticks too, when something is due by time; this
 * is for the case that none of them does.
 */
import { AppError } from '../../../sidecar/base/errors.ts';
import type { Clock } from '../../../sidecar/base/clock.ts';
import type { Log } from '../../../sidecar/base/log.ts';
import type { AdminEngine } from '../../../sidecar/engine/port.ts';
import type { TreeKey } from '../../../sidecar/engine/tree-terms.ts';
import { ACCOUNT_NODE } from '../../trees/names.ts';
import type { SyncBoard } from '../node-status/sync-state.ts';

const PERIOD_MS = 1000;

export interface TickerOptions {
  readonly board: SyncBoard;
  readonly engine: Pick<AdminEngine, 'tick'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Runs until the signal aborts; never fails. */
export async function tickTrees({ board, engine, clock, log }: TickerOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(PERIOD_MS, signal).catch(() => undefined);
    for (const key of waitingTrees(board)) {
      if (signal.aborted) return;
      await engine.tick(key, signal).catch((reason: unknown) => {
        if (!signal.aborted) log.warn('tree.tickFailed', { tree: key, cause: AppError.from(reason).message });
      });
    }
  }
}

/** Trees in which somebody waited when they were last looked at. */
function waitingTrees(board: SyncBoard): readonly TreeKey[] {
  return Array.from(board.states()).flatMap((state) => {
    if (state.kind !== 'applied') return [];
    const queued = state.snapshot.nodes.find(({ name }) => name === ACCOUNT_NODE)?.queued ?? 0;
    return queued > 0 ? [state.snapshot.key] : [];
  });
}
