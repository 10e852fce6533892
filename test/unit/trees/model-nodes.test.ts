import { describe, expect, test } from 'vitest';
import { compileTrees } from '#operator/trees/compile.ts';
import { account, nodeOf, world } from './world.ts';

describe('model nodes (M1)', () => {
  const models = (spec: Record<string, unknown>) => {
    const compiled = compileTrees(world({ accounts: [account('max', spec)] }));
    return ['model:glm-5.3', 'model:other'].map((name) => {
      const { concurrency, adaptive } = nodeOf(compiled, 'glm/max', name)!;
      return { concurrency, adaptive };
    });
  };

  test.each([
    [
      'start where the account says',
      { concurrency: { mode: 'Adaptive', min: 1, max: 6, start: 2 } },
      [
        { concurrency: 6, adaptive: { min: 1, start: 2 } },
        { concurrency: 6, adaptive: { min: 1, start: 2 } },
      ],
    ],
    [
      'have their own bounds where they are named, and start within them',
      { concurrency: { mode: 'Adaptive', min: 3, max: 8 }, modelConcurrency: [{ model: 'glm-5.3', max: 2, start: 1 }] },
      [
        { concurrency: 2, adaptive: { min: 2, start: 2 } },
        { concurrency: 8, adaptive: { min: 3, start: 3 } },
      ],
    ],
    [
      'never start above their own bound',
      { concurrency: { mode: 'Adaptive', start: 5 }, modelConcurrency: [{ model: 'glm-5.3', max: 2 }] },
      [
        { concurrency: 2, adaptive: { min: 1, start: 2 } },
        { concurrency: 10, adaptive: { min: 1, start: 5 } },
      ],
    ],
    [
      'learn nothing with Fixed',
      { concurrency: { max: 4 }, modelConcurrency: [{ model: 'other', max: 1 }] },
      [
        { concurrency: 4, adaptive: null },
        { concurrency: 1, adaptive: null },
      ],
    ],
  ])('%s', (_, spec, expected) => {
    expect(models(spec)).toEqual(expected);
  });

  test('have the account’s rate, the plan’s default included, and its breaker', () => {
    const breaker = { failureRatePercent: 20, minimumCalls: 5, openFor: '1m' };
    const lite = account('max', { plan: { name: 'Lite', generation: 'Prompts' }, breaker });
    const compiled = compileTrees(world({ accounts: [lite] }));
    expect(nodeOf(compiled, 'glm/max', 'model:glm-5.3')).toMatchObject({
      rate: { intervalUs: 2_500_000, burst: 2 },
      breaker: { failureRatePercent: 20, minimumCalls: 5, openForMs: 60_000 },
      limits: [],
      stops: [],
    });
    expect(nodeOf(compiled, 'glm/max', 'account')?.breaker).toBeNull();
  });

  test.each([
    ['glm-9', /has no model glm-9; it has glm-5.3, glm-5.3-flash/],
    ['glm-5.2', /calls of glm-5.2 are routed to glm-5.3; write that name/],
  ])('named %s are a fault of the account', (model, message) => {
    const accounts = [account('max', { modelConcurrency: [{ model, max: 1 }] })];
    const { verdict } = compileTrees(world({ accounts })).accounts.get('glm/max')!;
    expect(verdict.reason).toBe('UnknownModel');
    expect(verdict.message).toMatch(message);
  });
});
