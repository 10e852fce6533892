import { describe, expect, test } from 'vitest';
import { parseGlmCatalog } from '#operator/api/v1alpha1/glmcatalog.ts';
import type { Problem } from '#operator/api/v1alpha1/parse.ts';
import { defaultCatalogObject, defaultCatalogSpec } from '#test/support/default-catalog.ts';

const object = (spec: unknown, name = 'mine') => ({
  apiVersion: 'glmquota.io/v1alpha1',
  kind: 'GLMCatalog',
  metadata: { name },
  spec,
});

function specOf(spec: unknown) {
  const parsed = parseGlmCatalog(object(spec));
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.value.spec;
}

function problemsOf(spec: unknown, name?: string): readonly Problem[] {
  const parsed = parseGlmCatalog(object(spec, name));
  return parsed.ok ? [] : parsed.problems;
}

describe('units', () => {
  test('prices become nano-currency, coefficients micro-credits, factors parts per million', () => {
    const spec = specOf({
      models: [{ name: 'm' }],
      prices: [{ model: 'm', currency: 'USD', tiers: [{ input: '1.40', cached: '0.000000001', output: 9999 }] }],
      credits: [{ model: 'm', input: '6.9', cached: '0.000001', output: 24 }],
      schedule: { peakFactor: 1, offPeakFactor: '0.5' },
    });
    expect(spec.prices[0]?.tiers).toEqual([
      { upToInputTokens: null, inputNano: 1_400_000_000, cachedNano: 1, outputNano: 9_999_000_000_000 },
    ]);
    expect(spec.credits[0]).toEqual({ model: 'm', inputMicro: 6_900_000, cachedMicro: 1, outputMicro: 24_000_000 });
    expect(spec.schedule).toMatchObject({ peakFactorPpm: 1_000_000, offPeakFactorPpm: 500_000, timeZone: null });
  });

  test('plans count prompts as they are and credits in millionths', () => {
    const limits = [{ name: 'five-hour', amount: 120, duration: '5h' }];
    const { plans } = specOf({
      models: [{ name: 'm' }],
      plans: [
        { name: 'Lite', generation: 'Prompts', unit: 'Prompts', limits },
        { name: 'Lite', generation: 'Credits', unit: 'Credits', limits },
      ],
    });
    expect(plans.map((plan) => plan.limits)).toEqual([
      [{ name: 'five-hour', amount: 120, durationMs: 18_000_000 }],
      [{ name: 'five-hour', amount: 120_000_000, durationMs: 18_000_000 }],
    ]);
  });

  test('hours become minutes, days numbers from Monday, times milliseconds', () => {
    const { schedule } = specOf({
      extends: 'default',
      schedule: {
        peak: [{ weekdays: ['Monday', 'Sunday'], from: '00:00', to: '24:00' }],
        promotions: [{ name: 'p', from: '2026-01-01T08:00:00+08:00', until: '2026-01-01T00:00:01Z', factor: 0 }],
      },
    });
    expect(schedule.peak).toEqual([{ weekdays: [1, 7], fromMinute: 0, toMinute: 1440 }]);
    const from = Date.UTC(2026, 0, 1);
    expect(schedule.promotions).toEqual([{ name: 'p', fromMs: from, untilMs: from + 1000, models: [], factorPpm: 0 }]);
  });
});

describe('problems', () => {
  test.each([
    [
      'a name that leads to two models',
      [
        { name: 'a', aliases: ['x'] },
        { name: 'b', aliases: ['x'] },
      ],
      'x cannot lead to b: it already leads to a',
    ],
    [
      'an alias that is a model',
      [{ name: 'a', aliases: ['b'] }, { name: 'b' }],
      'b cannot lead to a: it already leads to b',
    ],
    [
      'a name routed to two models',
      [
        { name: 'a', planAliases: ['x'] },
        { name: 'b', planAliases: ['x'] },
      ],
      'x cannot lead to b',
    ],
    ['a model routed to itself', [{ name: 'a', planAliases: ['a'] }], 'a cannot be routed to itself'],
    ['a model named other', [{ name: 'other' }], 'other stands for'],
    ['a model named twice', [{ name: 'a' }, { name: 'a' }], 'names "a" twice'],
  ])('%s', (_, models, message) => {
    expect(problemsOf({ models }).map((problem) => problem.message)).toContainEqual(
      expect.stringContaining(message) as string,
    );
  });

  test('all are reported at once, each with its path', () => {
    const found = problemsOf({
      models: [{ name: 'A' }],
      prices: [{ model: 'm', currency: 'EUR', tiers: [{ input: -1, cached: '0.0000000001', output: '10000' }] }],
      errors: [{ code: '1302', class: 'Fatal' }],
      tools: [],
    });
    expect(found.map(({ path }) => path)).toEqual([
      'spec.models[0].name',
      'spec.prices[0].currency',
      'spec.prices[0].tiers[0].input',
      'spec.prices[0].tiers[0].cached',
      'spec.prices[0].tiers[0].output',
      'spec.errors[0].class',
      'spec.tools',
    ]);
  });

  test.each([
    ['neither models nor extends', {}, 'spec.models'],
    ['a zone nobody knows', { extends: 'default', schedule: { timeZone: 'Mars/Olympus' } }, 'spec.schedule.timeZone'],
    [
      'a day that does not exist',
      {
        extends: 'default',
        schedule: {
          promotions: [{ name: 'p', from: '2026-02-30T00:00:00Z', until: '2026-03-09T00:00:00Z', factor: 0 }],
        },
      },
      'spec.schedule.promotions[0].from',
    ],
    ['no spec', null, 'spec'],
  ])('%s', (_, spec, path) => {
    expect(problemsOf(spec).map((problem) => problem.path)).toEqual([path]);
  });

  test('the default catalog cannot extend itself, others may extend it', () => {
    expect(problemsOf({ extends: 'default' }, 'default')).toEqual([
      { path: 'spec.extends', message: 'the catalog default cannot extend itself' },
    ]);
    expect(problemsOf({ extends: 'default' })).toEqual([]);
  });
});

describe('the catalog that ships', () => {
  const spec = defaultCatalogSpec();

  test('says how old its content is', () => {
    expect(defaultCatalogObject()).toHaveProperty(
      ['metadata', 'annotations', 'glmquota.io/content-version'],
      expect.stringMatching(/^\d{4}-\d\d-\d\d$/) as string,
    );
  });

  test('prices every model it credits, and every unlisted one, in both currencies', () => {
    const priced = new Set(spec.prices.map(({ model, currency }) => `${model} ${currency}`));
    expect([...priced]).toEqual(expect.arrayContaining(['other USD', 'other CNY']) as string[]);
    for (const { model } of spec.credits.filter((row) => row.model !== 'glm-4.6v'))
      expect(priced).toContain(`${model} USD`);
  });

  test('has rows for models it lists only', () => {
    const known = new Set([...spec.models.map(({ name }) => name), 'other']);
    const named = [...spec.prices, ...spec.credits].map(({ model }) => model);
    expect(named.filter((model) => !known.has(model))).toEqual([]);
  });

  test('holds the plans of all three generations and the team’s seats', () => {
    const micro = 1_000_000;
    const amounts = Object.fromEntries(
      spec.plans.map(({ name, generation, unit, limits }) => [
        `${name}/${generation}`,
        limits.map(({ amount }) => (unit === 'Credits' ? amount / micro : amount)),
      ]),
    );
    expect(amounts).toEqual({
      'Lite/Prompts': [120],
      'Pro/Prompts': [600],
      'Max/Prompts': [2400],
      'Lite/WeeklyPrompts': [80, 400],
      'Pro/WeeklyPrompts': [400, 2000],
      'Max/WeeklyPrompts': [1600, 8000],
      'Lite/Credits': [2000, 10_000],
      'Pro/Credits': [12_000, 60_000],
      'Max/Credits': [28_000, 140_000],
      'Standard/Credits': [15_000, 66_000],
      'Premium/Credits': [35_000, 155_000],
    });
  });
});
