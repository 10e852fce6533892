/** What an account says of failures: its vendor's, and Redis'. */
import type { RetryPolicy, StoreFailurePolicy } from '../../../sidecar/control/terms.ts';
import type { BreakerConfig } from '../../../sidecar/engine/tree-terms.ts';
import { checked, integer, mapped, object, oneOf, withDefault, type Parser } from './parse.ts';
import { decimal, durationMs } from './scalars.ts';

const MINUTE_MS = 60_000;

interface RawRetry {
  readonly maxAttempts: number;
  readonly baseDelay: number;
  readonly factor: number;
  readonly maxDelay: number;
}

const DEFAULT_RETRY: RetryPolicy = { maxAttempts: 4, baseDelayMs: 1000, factorPermille: 2000, maxDelayMs: 30_000 };

const factorPermille = checked(decimal({ scale: 3, max: 10_000 }), (value, at) => {
  if (value < 1000) at.fail('must be from 1 to 10');
});

export const retry: Parser<RetryPolicy> = withDefault(
  mapped(
    object<RawRetry>({
      maxAttempts: withDefault(integer({ min: 1, max: 20 }), DEFAULT_RETRY.maxAttempts),
      baseDelay: withDefault(durationMs({ minMs: 1, maxMs: 10 * MINUTE_MS }), DEFAULT_RETRY.baseDelayMs),
      factor: withDefault(factorPermille, DEFAULT_RETRY.factorPermille),
      maxDelay: withDefault(durationMs({ minMs: 1, maxMs: 10 * MINUTE_MS }), DEFAULT_RETRY.maxDelayMs),
    }),
    ({ maxAttempts, baseDelay, factor, maxDelay }, at) => {
      if (maxDelay < baseDelay) at.child('maxDelay').fail(`must not be shorter than baseDelay (${baseDelay} ms)`);
      return { maxAttempts, baseDelayMs: baseDelay, factorPermille: factor, maxDelayMs: maxDelay };
    },
  ),
  DEFAULT_RETRY,
);

interface RawBreaker {
  readonly failureRatePercent: number;
  readonly minimumCalls: number;
  readonly openFor: number;
}

const DEFAULT_BREAKER: BreakerConfig = { failureRatePercent: 50, minimumCalls: 10, openForMs: 30_000 };

export const breaker: Parser<BreakerConfig> = withDefault(
  mapped(
    object<RawBreaker>({
      failureRatePercent: withDefault(integer({ min: 1, max: 100 }), DEFAULT_BREAKER.failureRatePercent),
      minimumCalls: withDefault(integer({ min: 1, max: 10_000 }), DEFAULT_BREAKER.minimumCalls),
      openFor: withDefault(durationMs({ minMs: 1000, maxMs: 60 * MINUTE_MS }), DEFAULT_BREAKER.openForMs),
    }),
    ({ failureRatePercent, minimumCalls, openFor }) => ({ failureRatePercent, minimumCalls, openForMs: openFor }),
  ),
  DEFAULT_BREAKER,
);

interface RawStoreFailure {
  readonly policy: StoreFailurePolicy['policy'];
  readonly localSharePercent: number;
  readonly maxDuration: number;
}

const DEFAULT_STORE_FAILURE: StoreFailurePolicy = {
  policy: 'Closed',
  localSharePercent: 50,
  maxDurationMs: 5 * MINUTE_MS,
};

export const onStoreFailure: Parser<StoreFailurePolicy> = withDefault(
  mapped(
    object<RawStoreFailure>({
      policy: withDefault(oneOf(['Closed', 'LocalShare', 'Open']), DEFAULT_STORE_FAILURE.policy),
      localSharePercent: withDefault(integer({ min: 1, max: 100 }), DEFAULT_STORE_FAILURE.localSharePercent),
      maxDuration: withDefault(
        durationMs({ minMs: 1000, maxMs: 24 * 60 * MINUTE_MS }),
        DEFAULT_STORE_FAILURE.maxDurationMs,
      ),
    }),
    ({ policy, localSharePercent, maxDuration }) => ({ policy, localSharePercent, maxDurationMs: maxDuration }),
  ),
  DEFAULT_STORE_FAILURE,
);
