/** Waiting for a program to be ready. */
import type { Clock } from '../../sidecar/base/clock.ts';
import { AppError } from '../../sidecar/base/errors.ts';
import type { TiedProcess } from './tied-process.ts';

const LOOK_MS = 25;
const START_MS = 30_000;

export interface Start {
  readonly what: string;
  readonly program: TiedProcess;
  readonly isReady: () => Promise<boolean>;
}

/** Resolves when `isReady`; fails with `unavailable` when the program ends first, with `deadline` after 30 s. */
export async function awaitStart(start: Start, clock: Clock, signal: AbortSignal): Promise<void> {
  const { what, program, isReady } = start;
  let end: string | null = null;
  void program.ended.then((how) => (end = how));
  const deadlineMs = clock.monotonicMs() + START_MS;
  while (!(await isReady())) {
    if (end !== null) throw new AppError('unavailable', `${what} ${String(end)}`);
    if (clock.monotonicMs() > deadlineMs) throw new AppError('deadline', `${what} was not ready within 30 s`);
    await clock.sleep(LOOK_MS, signal);
  }
}
