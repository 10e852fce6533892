/** A redis-server of our own on loopback: nothing on disk, gone with us. */
import type { Clock } from '../../sidecar/base/clock.ts';
import { AppError } from '../../sidecar/base/errors.ts';
import { awaitStart } from './await-start.ts';
import { freePort, isListening } from './ports.ts';
import { startTied } from './tied-process.ts';

const GRACE_MS = 2000;

export interface LocalRedis extends AsyncDisposable {
  readonly url: string;
  /** Resolves when it has ended, with a word on how. */
  readonly ended: Promise<string>;
}

/** Starts it in `folder`; fails with `unavailable` and what to do when there is no redis-server on the PATH. */
export async function startRedisServer(
  folder: string,
  env: Readonly<Record<string, string | undefined>>,
  clock: Clock,
  signal: AbortSignal,
): Promise<LocalRedis> {
  const port = await freePort();
  const settings = {
    port: String(port),
    bind: '127.0.0.1',
    dir: folder,
    save: '',
    appendonly: 'no',
    loglevel: 'warning',
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  const program = startTied(['redis-server', ...flags], env);
  const dispose = (): Promise<void> => program.stop(clock, GRACE_MS);
  try {
    await awaitStart({ what: 'redis-server', program, isReady: () => isListening(port) }, clock, signal);
  } catch (cause) {
    await dispose();
    if (signal.aborted) throw cause;
    const advice = 'install it (Debian: redis-server) or name a running one with --redis redis://127.0.0.1:6379';
    throw new AppError('unavailable', `${AppError.from(cause).message}; ${advice}`, { cause });
  }
  return { url: `redis://127.0.0.1:${port}`, ended: program.ended, [Symbol.asyncDispose]: dispose };
}
