import { describe, expect, test } from 'vitest';
import { amountsOf } from '#sidecar/catalog/amounts.ts';
import { price, type PriceList } from '#sidecar/catalog/price.ts';
import { MAX_CALL_TOKENS } from '#sidecar/catalog/terms.ts';
import { defaultCatalog } from '#test/support/default-catalog.ts';

const plan = defaultCatalog();
const PEAK = Date.parse('2026-11-20T15:00:00+08:00');
const OFF_PEAK = Date.parse('2026-11-21T15:00:00+08:00');
const usage = (inputTokens: number, cachedTokens: number, outputTokens: number) => ({
  inputTokens,
  cachedTokens,
  outputTokens,
});

/** One model `m` with the given rates, no schedule. */
function simple(rates: { micro?: [number, number, number]; nano?: [number, number, number] }): PriceList {
  const [inputMicro, cachedMicro, outputMicro] = rates.micro ?? [0, 0, 0];
  const [inputNano, cachedNano, outputNano] = rates.nano ?? [0, 0, 0];
  return {
    models: [],
    prices: [{ model: 'm', currency: 'USD', tiers: [{ upToInputTokens: null, inputNano, cachedNano, outputNano }] }],
    credits: [{ model: 'm', inputMicro, cachedMicro, outputMicro }],
    schedule: { timeZone: 'UTC', peak: [], peakFactorPpm: 1, offPeakFactorPpm: 1_000_000, promotions: [] },
  };
}

describe('credits', () => {
  test('the vendor’s formula gives the published measurement: 33 calls, 3.6 M input, 92.9 % cached', () => {
    const measured = usage(255_600, 3_344_400, 17_600);
    const { microCredits } = price(plan, { model: 'glm-5.3', usage: measured, atMs: PEAK, currency: 'USD' });
    expect(microCredits).toBe(787_152_000);
  });

  test('off-peak counts half', () => {
    const call = { model: 'glm-5.3-flash', usage: usage(10_000, 10_000, 10_000), currency: 'USD' } as const;
    expect(price(plan, { ...call, atMs: PEAK }).microCredits).toBe(10_860_000);
    expect(price(plan, { ...call, atMs: OFF_PEAK }).microCredits).toBe(5_430_000);
  });

  test.each([
    [4999, 0],
    [5000, 1],
    [14_999, 1],
    [15_000, 2],
  ])('are rounded half up to the micro-credit: %i tokens at 1 per 10,000 are %i', (tokens, micro) => {
    const list = simple({ micro: [1, 1, 1] });
    const call = { model: 'm', usage: usage(tokens, 0, 0), atMs: 0, currency: 'USD' } as const;
    expect(price(list, call).microCredits).toBe(micro);
  });

  test('are rounded once, not field by field', () => {
    const list = simple({ micro: [1, 1, 1] });
    const call = { model: 'm', usage: usage(4000, 4000, 2000), atMs: 0, currency: 'USD' } as const;
    expect(price(list, call).microCredits).toBe(1);
  });
});

describe('cost', () => {
  test('is the list price, at peak or not', () => {
    const call = { model: 'glm-5.3', usage: usage(1_000_000, 1_000_000, 1_000_000), currency: 'USD' } as const;
    expect(price(plan, { ...call, atMs: PEAK }).nanoCost).toBe(6_060_000_000);
    expect(price(plan, { ...call, atMs: OFF_PEAK }).nanoCost).toBe(6_060_000_000);
  });

  test('is counted in the account’s currency', () => {
    const call = { model: 'glm-5.3', usage: usage(1_000_000, 0, 0), atMs: 0 } as const;
    expect(price(plan, { ...call, currency: 'CNY' }).nanoCost).toBe(8_000_000_000);
  });

  test('of one token is exact where the price allows', () => {
    const call = { model: 'glm-5.3', usage: usage(1, 0, 0), atMs: 0, currency: 'USD' } as const;
    expect(price(plan, call).nanoCost).toBe(1400);
  });

  test('of a free model is nothing', () => {
    const call = { model: 'glm-4.5-flash', usage: usage(9, 9, 9), atMs: 0, currency: 'USD' } as const;
    expect(price(plan, call).nanoCost).toBe(0);
  });

  test('of a model without a row is that of `other`', () => {
    const call = { usage: usage(1_000_000, 0, 0), atMs: PEAK, currency: 'USD' } as const;
    expect(price(plan, { ...call, model: 'glm-9' })).toEqual(price(plan, { ...call, model: 'other' }));
    expect(price(plan, { ...call, model: 'glm-9' }).nanoCost).toBeGreaterThan(0);
  });

  test('is zero in a catalog that prices neither the model nor `other`', () => {
    const call = { model: 'x', usage: usage(1, 1, 1), atMs: 0, currency: 'USD' } as const;
    expect(price(simple({}), call)).toEqual({ microCredits: 0, nanoCost: 0 });
  });

  const tiered: PriceList = {
    ...simple({}),
    prices: [
      {
        model: 'm',
        currency: 'USD',
        tiers: [
          { upToInputTokens: 32_000, inputNano: 1_000_000, cachedNano: 1_000_000, outputNano: 0 },
          { upToInputTokens: 200_000, inputNano: 2_000_000, cachedNano: 2_000_000, outputNano: 0 },
        ],
      },
    ],
  };
  test.each([
    ['the first tier up to its bound', 31_000, 1000, 32_000],
    ['the second one token later, cached tokens counted for the length', 31_000, 1001, 64_002],
    ['the last for prompts beyond every bound', 300_000, 0, 600_000],
  ])('follows the length of the prompt: %s', (_, input, cached, nano) => {
    const call = { model: 'm', usage: usage(input, cached, 0), atMs: 0, currency: 'USD' } as const;
    expect(price(tiered, call).nanoCost).toBe(nano);
  });
});

describe('bounds', () => {
  test.each([-1, 0.5, Number.NaN, 2 ** 53])('a count of %d tokens is refused', (tokens) => {
    const call = { model: 'm', usage: usage(tokens, 0, 0), atMs: 0, currency: 'USD' } as const;
    expect(() => price(simple({}), call)).toThrow('inputTokens must be a whole number of tokens');
  });

  test('an amount that cannot be counted exactly is refused, never wrapped', () => {
    const list = simple({ nano: [9_999_000_000_000, 0, 0] });
    const call = { model: 'm', usage: usage(Number.MAX_SAFE_INTEGER, 0, 0), atMs: 0, currency: 'USD' } as const;
    expect(() => price(list, call)).toThrow('cannot be counted exactly');
  });

  test('the largest call at the highest rates of the schema can be counted', () => {
    const nano = 9_999_000_000_000;
    const micro = 9_999_000_000;
    const list: PriceList = {
      ...simple({ nano: [nano, nano, nano], micro: [micro, micro, micro] }),
      schedule: { timeZone: 'UTC', peak: [], peakFactorPpm: 1, offPeakFactorPpm: 10_000_000, promotions: [] },
    };
    const most = usage(MAX_CALL_TOKENS, MAX_CALL_TOKENS, MAX_CALL_TOKENS);
    const result = price(list, { model: 'm', usage: most, atMs: 0, currency: 'USD' });
    expect(Number.isSafeInteger(result.nanoCost) && Number.isSafeInteger(result.microCredits)).toBe(true);
  });
});

test('amounts of a call: one request, one prompt, its tokens, and the price of the routed model', () => {
  const call = { usage: usage(1000, 2000, 300), atMs: PEAK, currency: 'USD' } as const;
  const routed = amountsOf(plan, { ...call, model: 'glm-4.7' });
  expect(routed).toEqual({
    requests: 1,
    prompts: 1,
    inputTokens: 1000,
    cachedTokens: 2000,
    outputTokens: 300,
    ...price(plan, { ...call, model: 'glm-5.3-flash' }),
    costUnits: 0,
    runtimeSeconds: 1,
  });
});

test('a call counts the cost units its caller declares, and its run time in begun seconds', () => {
  const call = { model: 'glm-4.7', usage: usage(1, 0, 1), atMs: PEAK, currency: 'USD' } as const;
  expect(amountsOf(plan, { ...call, costUnits: 12, runtimeSeconds: 2.01 })).toMatchObject({
    costUnits: 12,
    runtimeSeconds: 3,
  });
});

test('a call that declares no run time reserves a second, so that a used-up window refuses it', () => {
  const call = { model: 'glm-4.7', usage: usage(1, 0, 1), atMs: PEAK, currency: 'USD' } as const;
  expect(amountsOf(plan, { ...call, runtimeSeconds: 0 }).runtimeSeconds).toBe(1);
});
