import { describe, expect, test } from 'vitest';
import { amount, amountIn, formatAmount, MAX_LIMIT_AMOUNT } from '#operator/api/v1alpha1/amounts.ts';
import { rate } from '#operator/api/v1alpha1/concurrency.ts';
import { parseWith } from '#operator/api/v1alpha1/parse.ts';
import { RESOURCES } from '#sidecar/engine/tree-terms.ts';

describe('amounts', () => {
  test.each([
    ['Requests', '10', 10],
    ['Tokens', '9000000000000000', MAX_LIMIT_AMOUNT],
    ['Credits', '2.5', 2_500_000],
    ['Credits', '0.000001', 1],
    ['Cost', '50.000000001', 50_000_000_001],
    ['Cost', '9000000', MAX_LIMIT_AMOUNT],
    ['Cost', '1.10', 1_100_000_000],
  ] as const)('%s %s is counted as %d', (resource, text, counted) => {
    expect(amountIn(resource, text, 'x')).toEqual({ ok: true, value: counted });
  });

  test.each([
    ['Requests', '1.5'],
    ['Credits', '0.0000001'],
    ['Cost', '9000000.000000001'],
    ['Tokens', '9000000000000001'],
  ] as const)('%s %s is refused, never rounded', (resource, text) => {
    expect(amountIn(resource, text, 'x').ok).toBe(false);
  });

  test.each(RESOURCES)('%s is shown as it is read back', (resource) => {
    for (const counted of [0, 1, 999_999, 1_000_000, 1_500_000, 100_000_000_000_001, MAX_LIMIT_AMOUNT])
      expect(amountIn(resource, formatAmount(resource, counted), 'x')).toEqual({ ok: true, value: counted });
  });

  test.each([
    ['40%', { kind: 'Percent', percent: 40 }],
    ['100%', { kind: 'Percent', percent: 100 }],
    ['2.50', { kind: 'Absolute', text: '2.50' }],
    [7, { kind: 'Absolute', text: '7' }],
  ])('%j is understood', (input, parsed) => {
    expect(parseWith(amount, input)).toEqual({ ok: true, value: parsed });
  });

  test.each([-1, 1.5, '-1', '101%', '1e3', '', ' 1', '.5', '1.', null, true, 2 ** 53, 1e21])(
    '%j is refused',
    (input) => {
      expect(parseWith(amount, input).ok).toBe(false);
    },
  );
});

describe('rates', () => {
  test.each([
    ['0.4', 2_500_000],
    [2, 500_000],
    ['3', 333_334],
    ['0.001', 1_000_000_000],
    [10_000, 100],
  ])('%s per second is one call each %d µs, rounded so that it is never exceeded', (requestsPerSecond, intervalUs) => {
    expect(parseWith(rate, { requestsPerSecond, burst: 2 })).toEqual({ ok: true, value: { intervalUs, burst: 2 } });
  });

  test.each(['0', 0, '0.000', '10000.001', '-1', '0.0001'])('%s is refused', (requestsPerSecond) => {
    expect(parseWith(rate, { requestsPerSecond }).ok).toBe(false);
  });
});
