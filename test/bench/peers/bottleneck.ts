/**
 * `bottleneck` as a gate: a limiter a caller, all clustered over one Redis. Callers queue in their own process; when a slot
 * frees, its holder tells everybody over pub/sub, and one of them is let in.
 */
import Bottleneck from 'bottleneck';
import { Redis } from 'ioredis';
import type { Gate } from '../engine/contention.ts';

/** Its state in Redis ends with the bench. */
const STATE_MS = 600_000;

export async function openBottleneck(
  { port }: { readonly port: number },
  { callers, slots }: { readonly callers: number; readonly slots: number },
): Promise<Gate> {
  const limiters: Bottleneck[] = [];
  for (let caller = 0; caller < callers; caller++) {
    const limiter = new Bottleneck({
      id: 'bench',
      maxConcurrent: slots,
      datastore: 'ioredis',
      Redis,
      clientOptions: { host: '127.0.0.1', port, protocol: 2 },
      clearDatastore: caller === 0,
      timeout: STATE_MS,
      // A client that was silent for ten seconds is dropped, and cannot come back on Redis 7, whose error has a prefix that
      // the library does not expect (`ERR UNKNOWN_CLIENT`): its callers would wait for ever.
      clientTimeout: STATE_MS,
    });
    limiter.on('error', (error: Error) => console.error(`bottleneck: ${error.message}`));
    await limiter.ready();
    limiters.push(limiter);
  }
  return {
    run: async (caller, work) => limiters[caller]!.schedule(work),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(limiters.map((limiter) => limiter.disconnect(false)));
    },
  };
}
