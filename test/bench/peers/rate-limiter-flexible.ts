/** `rate-limiter-flexible` as a window limiter: so many points a duration, counted in Redis from the first call on. */
import { Redis } from 'ioredis';
import { RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible';
import type { WindowLimiter } from '../engine/bursts.ts';

export async function openRateLimiterFlexible(
  { port }: { readonly port: number },
  { amount, windowMs }: { readonly amount: number; readonly windowMs: number },
): Promise<WindowLimiter> {
  const redis = new Redis({ host: '127.0.0.1', port });
  const keyPrefix = `rlf-${amount}-${windowMs}`;
  const limiter = new RateLimiterRedis({ storeClient: redis, keyPrefix, points: amount, duration: windowMs / 1000 });
  return {
    admit: async () => {
      try {
        await limiter.consume('account', 1);
        return true;
      } catch (reason) {
        if (reason instanceof RateLimiterRes) return false;
        throw reason;
      }
    },
    [Symbol.asyncDispose]: async () => redis.disconnect(),
  };
}
