/** A redis-server of our own on loopback: nothing on disk, gone with us. */
import { join } from 'node:path';
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

export interface RedisServerOptions {
  /** For its log; it writes nothing else. */
  readonly folder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
}

/** Fails with `unavailable`, and what to do, when it cannot be started. */
export async function startRedisServer(options: RedisServerOptions, signal: AbortSignal): Promise<LocalRedis> {
  const { folder, env, clock } = options;
  const port = await freePort();
  const settings = {
    port: String(port),
    bind: '127.0.0.1',
    dir: folder,
    save: '',
    appendonly: 'no',
    logfile: join(folder, 'redis.log'),
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
