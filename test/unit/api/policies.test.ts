import { describe, expect, test } from 'vitest';
import { parseGlmAccount } from '#operator/api/v1alpha1/glmaccount.ts';
import { parseGlmQuota } from '#operator/api/v1alpha1/glmquota.ts';
import type { Parsed } from '#operator/api/v1alpha1/parse.ts';

const head = (kind: string) => ({
  apiVersion: 'glmquota.io/v1alpha1',
  kind,
  metadata: { name: 'x', namespace: 'glm' },
});
const account = (spec: object) =>
  parseGlmAccount({
    ...head('GLMAccount'),
    spec: { billing: 'CodingPlan', region: 'China', credentialSecretRef: { name: 'key' }, ...spec },
  });
const quota = (spec: object) => parseGlmQuota({ ...head('GLMQuota'), spec: { accountRef: { name: 'max' }, ...spec } });

function specOf<Spec>(parsed: Parsed<{ readonly spec: Spec }>): Spec {
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.value.spec;
}

const problemsOf = (parsed: Parsed<unknown>): string =>
  parsed.ok ? '' : parsed.problems.map(({ path, message }) => `${path} ${message}`).join('\n');

describe('concurrency', () => {
  test.each([
    ['without a mode is Fixed, as it always was', { max: 4 }, { mode: 'Fixed', max: 4 }],
    ['learns from 1 to 10', { mode: 'Adaptive' }, { mode: 'Adaptive', min: 1, max: 10, start: 1 }],
    ['starts at its least', { mode: 'Adaptive', min: 3 }, { mode: 'Adaptive', min: 3, max: 10, start: 3 }],
    ['starts where it says', { mode: 'Adaptive', max: 6, start: 2 }, { mode: 'Adaptive', min: 1, max: 6, start: 2 }],
  ])('%s', (_, concurrency, expected) => {
    expect(specOf(account({ concurrency })).concurrency).toEqual(expected);
    expect(specOf(quota({ concurrency })).concurrency).toEqual(expected);
  });
});

test('what an account says of failures is in counting units', () => {
  const spec = specOf(
    account({
      retry: { maxAttempts: 2, baseDelay: '250ms', factor: '1.5', maxDelay: '1m' },
      breaker: { openFor: '1m30s' },
      onStoreFailure: { policy: 'LocalShare', maxDuration: '1h' },
      durability: 'Strict',
    }),
  );
  expect(spec).toMatchObject({
    retry: { maxAttempts: 2, baseDelayMs: 250, factorPermille: 1500, maxDelayMs: 60_000 },
    breaker: { failureRatePercent: 50, minimumCalls: 10, openForMs: 90_000 },
    onStoreFailure: { policy: 'LocalShare', localSharePercent: 50, maxDurationMs: 3_600_000 },
    durability: 'Strict',
  });
});

describe('stops and schedules', () => {
  test('a stop of policy None is no stop', () => {
    expect(specOf(quota({ stop: { policy: 'None' } })).stop).toBeNull();
  });

  test('a hold has its end and its reason', () => {
    const stop = { policy: 'HoldAndDrain', until: '2026-12-01T08:00:00+08:00', reason: 'audit' };
    const untilMs = Date.parse('2026-12-01T00:00:00Z');
    expect(specOf(account({ stop })).stop).toEqual({ policy: 'HoldAndDrain', untilMs, reason: 'audit' });
  });

  test('schedules are by minutes of the day in a zone, or by the vendor’s hours', () => {
    const schedules = [
      { name: 'night', from: '22:30', to: '24:00' },
      { name: 'dear', when: 'VendorPeak', exceptClasses: ['System'] },
    ];
    expect(specOf(quota({ schedules })).schedules).toEqual([
      {
        name: 'night',
        hours: { kind: 'Daily', fromMinute: 1350, toMinute: 1440, timeZone: 'UTC' },
        exceptClasses: [],
      },
      { name: 'dear', hours: { kind: 'VendorPeak' }, exceptClasses: ['System'] },
    ]);
  });
});

describe('priority', () => {
  test.each([
    [{}, { default: 'Normal', max: 'High' }],
    [{ max: 'Low' }, { default: 'Low', max: 'Low' }],
    [{ default: 'Low' }, { default: 'Low', max: 'High' }],
    [
      { default: 'System', max: 'System' },
      { default: 'System', max: 'System' },
    ],
  ])('%j means %j', (priority, expected) => {
    expect(specOf(quota({ priority })).priority).toEqual(expected);
  });
});

test('thresholds ascend, and none is not the same as nothing said', () => {
  expect(specOf(quota({ alerts: { thresholdsPercent: [90, 50] } })).alerts).toEqual([50, 90]);
  expect(specOf(quota({ alerts: { thresholdsPercent: [] } })).alerts).toEqual([]);
  expect(specOf(quota({ alerts: {} })).alerts).toBeNull();
});

test('fields without effect on a scope node are each refused, where they stand', () => {
  const problems = problemsOf(
    quota({ match: { tools: ['t'] }, weight: 1, priority: {}, waiting: {}, maxRuntime: '1m', consumers: {} }),
  );
  for (const field of ['weight', 'priority', 'waiting', 'maxRuntime', 'consumers'])
    expect(problems).toContain(`spec.${field} is for quotas with pods`);
});

test('a default that does not fit what is said is refused as if it were said', () => {
  expect(problemsOf(account({ retry: { baseDelay: '1m' } }))).toContain('spec.retry.maxDelay must not be shorter');
  expect(problemsOf(quota({ priority: { default: 'System' } }))).toContain('must not be above max (High)');
  expect(problemsOf(quota({ concurrency: { mode: 'Adaptive', min: 11 } }))).toContain('must be at most max (10)');
});
