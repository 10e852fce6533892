import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { price, type PriceList } from '#sidecar/catalog/price.ts';
import { MAX_CALL_TOKENS } from '#sidecar/catalog/terms.ts';
import type { TokenUsage } from '#sidecar/leases/terms.ts';

const tokens = fc.oneof(fc.nat({ max: 20_000 }), fc.nat({ max: MAX_CALL_TOKENS }));
const usage: fc.Arbitrary<TokenUsage> = fc.record({ inputTokens: tokens, cachedTokens: tokens, outputTokens: tokens });
const nano = fc.nat({ max: 9_999_000_000_000 });
const micro = fc.nat({ max: 9_999_000_000 });
const rates = fc.record({
  nano: fc.tuple(nano, nano, nano),
  micro: fc.tuple(micro, micro, micro),
  ppm: fc.nat({ max: 10_000_000 }),
});

function catalogOf({ nano: n, micro: m, ppm }: { nano: number[]; micro: number[]; ppm: number }): PriceList {
  const [inputNano = 0, cachedNano = 0, outputNano = 0] = n;
  const [inputMicro = 0, cachedMicro = 0, outputMicro = 0] = m;
  return {
    models: [],
    prices: [{ model: 'm', currency: 'USD', tiers: [{ upToInputTokens: null, inputNano, cachedNano, outputNano }] }],
    credits: [{ model: 'm', inputMicro, cachedMicro, outputMicro }],
    schedule: { timeZone: 'UTC', peak: [], peakFactorPpm: 0, offPeakFactorPpm: ppm, promotions: [] },
  };
}

const priced = (catalog: PriceList, used: TokenUsage) =>
  price(catalog, { model: 'm', usage: used, atMs: 0, currency: 'USD' });

/** The fraction `above / below` rounded half up, by long division and comparison of the remainder. */
function rounded(above: bigint, below: bigint): bigint {
  const whole = above / below;
  const rest = above - whole * below;
  return rest * 2n >= below ? whole + 1n : whole;
}

function oracle({ nano: n, micro: m, ppm }: { nano: number[]; micro: number[]; ppm: number }, used: TokenUsage) {
  const counts = [used.inputTokens, used.cachedTokens, used.outputTokens].map(BigInt);
  const dot = (by: readonly number[]): bigint =>
    by.reduce((sum, each, index) => sum + BigInt(each) * (counts[index] ?? 0n), 0n);
  return {
    microCredits: rounded(dot(m) * BigInt(ppm), 10_000n * 1_000_000n),
    nanoCost: rounded(dot(n), 1_000_000n),
  };
}

describe('prices', () => {
  test('are exact for every call and catalog within the bounds', () => {
    fc.assert(
      fc.property(rates, usage, (rate, used) => {
        const { microCredits, nanoCost } = priced(catalogOf(rate), used);
        expect(Number.isSafeInteger(microCredits) && Number.isSafeInteger(nanoCost)).toBe(true);
        expect({ microCredits: BigInt(microCredits), nanoCost: BigInt(nanoCost) }).toEqual(oracle(rate, used));
      }),
      { numRuns: 5000 },
    );
  });

  test('never fall when a call uses more', () => {
    const field = fc.constantFrom('inputTokens', 'cachedTokens', 'outputTokens');
    fc.assert(
      fc.property(rates, usage, field, fc.nat({ max: 100_000 }), (rate, used, which, extra) => {
        const catalog = catalogOf(rate);
        const more = { ...used, [which]: Math.min(used[which] + extra, MAX_CALL_TOKENS) };
        expect(priced(catalog, more).nanoCost).toBeGreaterThanOrEqual(priced(catalog, used).nanoCost);
        expect(priced(catalog, more).microCredits).toBeGreaterThanOrEqual(priced(catalog, used).microCredits);
      }),
      { numRuns: 3000 },
    );
  });

  test('of a call in two parts are within one unit of the whole', () => {
    fc.assert(
      fc.property(rates, usage, usage, (rate, a, b) => {
        const half = (used: TokenUsage): TokenUsage => ({
          inputTokens: Math.floor(used.inputTokens / 2),
          cachedTokens: Math.floor(used.cachedTokens / 2),
          outputTokens: Math.floor(used.outputTokens / 2),
        });
        const [x, y] = [half(a), half(b)];
        const sum = {
          inputTokens: x.inputTokens + y.inputTokens,
          cachedTokens: x.cachedTokens + y.cachedTokens,
          outputTokens: x.outputTokens + y.outputTokens,
        };
        const catalog = catalogOf(rate);
        const apart = priced(catalog, x).nanoCost + priced(catalog, y).nanoCost;
        expect(Math.abs(priced(catalog, sum).nanoCost - apart)).toBeLessThanOrEqual(1);
      }),
      { numRuns: 2000 },
    );
  });
});
