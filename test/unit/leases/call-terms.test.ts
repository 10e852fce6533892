import { describe, expect, test } from 'vitest';
import { askOf, attributesOf, classOf, lowerClass, waitOf } from '#sidecar/leases/call-terms.ts';
import { snapshotOf } from './fixtures.ts';

const { binding } = snapshotOf();

describe('W6 the class of a call', () => {
  test.each([
    ['High', 'Low', 'Low'],
    ['Low', 'High', 'Low'],
    ['System', 'Normal', 'Normal'],
    ['Normal', 'Normal', 'Normal'],
  ] as const)('of %s and %s the lower is %s', (one, other, lower) => {
    expect(lowerClass(one, other)).toBe(lower);
  });

  test.each([
    [undefined, 'Normal'],
    ['Low', 'Low'],
    ['High', 'High'],
    ['System', 'High'],
  ] as const)('claimed as %s is %s, when Normal is usual and High the highest', (claimed, expected) => {
    expect(classOf(binding, claimed)).toBe(expected);
  });

  test('is no higher than allowed even if the usual one is', () => {
    expect(classOf({ ...binding, class: { default: 'High', max: 'Low' } }, undefined)).toBe('Low');
  });
});

test('a caller says what its pod leaves open, and cannot change what it fixes', () => {
  const attributes = attributesOf(
    { ...binding, attributes: { pool: 'reviewers', tool: 'lint' } },
    { tool: 'x', user: 'ann' },
  );
  expect(attributes).toEqual({ pool: 'reviewers', tool: 'lint', user: 'ann' });
});

describe('the wait of a call', () => {
  const waiting = { mode: 'UntilSlot', maxWaitMs: 60_000 } as const;

  test.each([
    [undefined, 60_000],
    [1500.7, 1500],
    [0, 0],
    [90_000, 60_000],
    [-1, 0],
  ])('asked for as %s ms is %i ms under a quota of a minute', (claimedMs, maxWaitMs) => {
    expect(waitOf({ ...binding, waiting }, claimedMs)).toEqual({ mode: 'UntilSlot', maxWaitMs });
  });

  test('is nothing where the quota refuses at once, and a day at most', () => {
    expect(waitOf({ ...binding, waiting: { mode: 'Reject', maxWaitMs: 60_000 } }, undefined).maxWaitMs).toBe(0);
    expect(waitOf({ ...binding, waiting: { ...waiting, maxWaitMs: 1e12 } }, undefined).maxWaitMs).toBe(86_400_000);
  });
});

test('an ask carries class, attributes, cost units and the place of a call that may wait', () => {
  const call = {
    id: 'a',
    model: 'glm-5.2',
    estimate: { inputTokens: 1, cachedTokens: 0, outputTokens: 1 },
    costUnits: 3,
    runtimeSeconds: 20,
    claims: { class: 'Low', attributes: { tool: 'lint' } },
    place: () => 'here',
  } as const;
  const ask = askOf(snapshotOf(), call, { atMs: 1, mayWait: true });
  expect(ask).toMatchObject({
    model: 'glm-5.3',
    class: 'Low',
    attributes: { tool: 'lint' },
    flowKey: '',
    place: 'here',
    reserve: { costUnits: 3, runtimeSeconds: 20 },
  });
});
