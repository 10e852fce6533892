import { describe, expect, test } from 'vitest';
import { planRetry, type RetryState } from '#sidecar/leases/retry.ts';

const NOW = 1_800_000_000_000;
const state: RetryState = {
  policy: { maxAttempts: 4, baseDelayMs: 1000, factorPermille: 2000, maxDelayMs: 30_000 },
  mode: 'UntilWindow',
  remainingMs: 240_000,
  attempts: 1,
  nowMs: NOW,
};
const plan = (change: Partial<RetryState> = {}, random = 0) =>
  planRetry({ class: 'Overload', resetAtMs: null }, { ...state, ...change }, random);

describe('Q7 a refused call', () => {
  test.each([
    ['Concurrency', false],
    ['Rate', false],
    ['Overload', true],
    ['Retry', true],
  ] as const)('%s is sent again; its delay passes in any case: %s', (kind, always) => {
    expect(planRetry({ class: kind, resetAtMs: null }, state, 0)).toEqual({ delayMs: 1000, always });
  });

  test.each(['AccountStop', 'ClientError'] as const)('%s is final', (kind) => {
    expect(planRetry({ class: kind, resetAtMs: null }, state, 0)).toBeNull();
  });

  test('is sent as often as the policy allows, the first time counted', () => {
    expect([1, 2, 3, 4].map((attempts) => plan({ attempts }) !== null)).toEqual([true, true, true, false]);
  });

  test('waits longer each time, up to the longest delay', () => {
    const policy = { ...state.policy, maxAttempts: 20 };
    const delays = [1, 2, 3, 6, 12].map((attempts) => plan({ attempts, policy })?.delayMs);
    expect(delays).toEqual([1000, 2000, 4000, 30_000, 30_000]);
  });

  test('waits at least half of the delay, at random', () => {
    expect([0, 0.5, 0.999].map((random) => plan({}, random)?.delayMs)).toEqual([1000, 750, 500]);
  });

  test('whose delay is longer than its wait is final', () => {
    expect(plan({ remainingMs: 1000 })).not.toBeNull();
    expect(plan({ remainingMs: 999 })).toBeNull();
  });

  test('of a quota that does not wait is final', () => {
    expect(plan({ mode: 'Reject' })).toBeNull();
  });

  test.each([
    ['opens within the wait', 'UntilWindow', NOW + 240_000, true],
    ['has opened already', 'UntilWindow', NOW - 5000, true],
    ['opens later', 'UntilWindow', NOW + 240_001, false],
    ['opens at an unknown time', 'UntilWindow', null, false],
    ['is not waited for', 'UntilSlot', NOW + 1000, false],
  ] as const)('for a window that %s', (_, mode, resetAtMs, isRepeated) => {
    expect(planRetry({ class: 'Quota', resetAtMs }, { ...state, mode }, 0) !== null).toBe(isRepeated);
  });
});
