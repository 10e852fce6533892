/** Programs that end when this process ends, whatever ends it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import type { Clock } from '../../sidecar/base/clock.ts';

/**
 * The shell becomes the program (same pid). Beside it a reader waits on a pipe whose other end only we hold: a line
 * means that the program has ended, the pipe closing without one that we have, by SIGKILL too.
 */
const TIE = '{ read -r _ <&3 || kill -TERM $$; } & exec "$@" 3<&-';

export interface TiedProcess {
  /** Resolves when the program has ended, with a word on how. */
  readonly ended: Promise<string>;
  /** SIGTERM, then SIGKILL after `graceMs`; resolves at its end. Harmless when it has ended. */
  stop(clock: Clock, graceMs: number): Promise<void>;
}

/**
 * Starts `command`, its output on our standard error. `env` replaces the environment. A program that cannot be started
 * ends at once.
 */
export function startTied(command: readonly string[], env: Readonly<Record<string, string | undefined>>): TiedProcess {
  const child = spawn('sh', ['-c', TIE, 'sh', ...command], {
    stdio: ['ignore', process.stderr, process.stderr, 'pipe'],
    env: env as NodeJS.ProcessEnv,
    // A session of its own: Ctrl-C reaches us only, and we end the programs in order.
    detached: true,
  });
  const tie = child.stdio[3] as Writable;
  // The reader is gone with a program that could not be started.
  tie.on('error', () => undefined);
  const ended = endOf(once(child, 'exit')).finally(() => tie.end('\n'));
  return {
    ended,
    stop: async (clock, graceMs) => {
      const done = new AbortController();
      child.kill('SIGTERM');
      const killed = clock.sleep(graceMs, done.signal).then(
        () => child.kill('SIGKILL'),
        () => false,
      );
      await ended;
      done.abort();
      await killed;
    },
  };
}

async function endOf(exit: Promise<unknown[]>): Promise<string> {
  try {
    const [code, signal] = (await exit) as [number | null, string | null];
    return signal === null ? `ended with ${String(code)}` : `was ended by ${signal}`;
  } catch (error) {
    return `could not be started: ${error instanceof Error ? error.message : String(error)}`;
  }
}
