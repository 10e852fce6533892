import { describe, expect, test } from 'vitest';
import { parseGlmCatalog } from '#operator/api/v1alpha1/glmcatalog.ts';
import { catalogOf, mergeCatalogs, modelsFor } from '#operator/trees/catalog.ts';
import { route } from '#sidecar/catalog/route.ts';
import { defaultCatalogSpec } from '#test/support/default-catalog.ts';

const base = defaultCatalogSpec();

function override(spec: object) {
  const metadata = { name: 'mine' };
  const parsed = parseGlmCatalog({
    apiVersion: 'glmquota.io/v1alpha1',
    kind: 'GLMCatalog',
    metadata,
    spec: { extends: 'default', ...spec },
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.value.spec;
}

describe('a catalog that extends the default', () => {
  test('with nothing of its own says the same', () => {
    expect(mergeCatalogs(base, override({}))).toEqual(base);
  });

  test('replaces rows of the same key, keeps the others and adds its new ones behind', () => {
    const tiers = [{ input: 1, cached: 1, output: 1 }];
    const merged = mergeCatalogs(
      base,
      override({
        prices: [
          { model: 'glm-5.3', currency: 'USD', tiers },
          { model: 'mine', currency: 'USD', tiers },
        ],
        errors: [{ code: '1302', class: 'Rate' }],
      }),
    );
    expect(merged.prices).toHaveLength(base.prices.length + 1);
    expect(merged.prices.at(-1)?.model).toBe('mine');
    const dollars = merged.prices.find(({ model, currency }) => model === 'glm-5.3' && currency === 'USD');
    expect(dollars?.tiers[0]?.inputNano).toBe(1_000_000_000);
    const yuan = merged.prices.find(({ model, currency }) => model === 'glm-5.3' && currency === 'CNY');
    expect(yuan?.tiers[0]?.inputNano).toBe(8_000_000_000);
    expect(merged.errors.find(({ code }) => code === '1302')?.class).toBe('Rate');
    expect(merged.errors).toHaveLength(base.errors.length);
  });

  test('takes a routed name away from the model that had it', () => {
    const merged = mergeCatalogs(base, override({ models: [{ name: 'glm-6', planAliases: ['glm-5.2'] }] }));
    const models = modelsFor(catalogOf(merged).models, 'CodingPlan');
    expect(route({ models }, 'glm-5.2').model).toBe('glm-6');
    expect(route({ models }, 'glm-5.1').model).toBe('glm-5.3');
  });

  test('changes of the schedule what it names', () => {
    const promotion = { from: '2026-01-01T00:00:00Z', until: '2027-01-01T00:00:00Z', factor: 0 };
    const name = base.schedule.promotions[0]?.name ?? '';
    const { schedule } = mergeCatalogs(
      base,
      override({
        schedule: {
          offPeakFactor: '0.4',
          promotions: [
            { name: 'mine', ...promotion },
            { name, ...promotion },
          ],
        },
      }),
    );
    expect(schedule).toMatchObject({
      ...base.schedule,
      offPeakFactorPpm: 400_000,
      promotions: expect.anything() as object,
    });
    expect(schedule.promotions.map((each) => [each.name, each.factorPpm])).toEqual([
      ['mine', 0],
      [name, 0],
    ]);
  });
});

describe('a complete catalog', () => {
  test('without a schedule counts the full rate at all times', () => {
    const spec = override({ extends: undefined, models: [{ name: 'm' }] });
    expect(catalogOf(spec).schedule).toEqual({
      timeZone: 'UTC',
      peak: [],
      peakFactorPpm: 1_000_000,
      offPeakFactorPpm: 1_000_000,
      promotions: [],
    });
  });
});

describe('the models of an account', () => {
  test('on plans old names are aliases and no models of their own', () => {
    for (const billing of ['CodingPlan', 'TeamSeat'] as const) {
      const models = modelsFor(base.models, billing);
      expect(models.map(({ name }) => name)).not.toContain('glm-4.7');
      expect(models.find(({ name }) => name === 'glm-5.3-flash')?.aliases).toEqual(['glm-4.7', 'glm-5-turbo']);
    }
  });

  test('on pay-as-you-go are all there, none routed to another', () => {
    const models = modelsFor(base.models, 'PayAsYouGo');
    expect(models).toHaveLength(base.models.length);
    expect(models.flatMap(({ aliases }) => aliases)).toEqual([]);
  });

  test('never carry what is only for the operator', () => {
    const models = [...modelsFor(base.models, 'CodingPlan'), ...modelsFor(base.models, 'PayAsYouGo')];
    expect(models.filter((model) => 'planAliases' in model)).toEqual([]);
  });
});
