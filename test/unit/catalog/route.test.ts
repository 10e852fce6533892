import { describe, expect, test } from 'vitest';
import { route } from '#sidecar/catalog/route.ts';
import { defaultCatalog } from '#test/support/default-catalog.ts';

const plan = defaultCatalog('CodingPlan');
const paid = defaultCatalog('PayAsYouGo');

describe('route', () => {
  test.each([
    ['glm-5.3', 'glm-5.3'],
    ['glm-5.2', 'glm-5.3'],
    ['glm-5.1', 'glm-5.3'],
    ['glm-4.7', 'glm-5.3-flash'],
    ['glm-5-turbo', 'glm-5.3-flash'],
    ['glm-4.5-flash', 'glm-4.5-flash'],
    ['glm-5.3[1m]', 'glm-5.3'],
    ['glm-5.2[1m]', 'glm-5.3'],
    ['GLM-5.3', 'glm-5.3'],
    [' glm-5.3 ', 'glm-5.3'],
  ])('on a plan %s is served by %s', (requested, served) => {
    expect(route(plan, requested)).toEqual({ model: served, known: true });
  });

  test.each(['glm-5.2', 'glm-5.1', 'glm-4.7', 'glm-5-turbo'])('pay-as-you-go keeps %s', (model) => {
    expect(route(paid, model)).toEqual({ model, known: true });
  });

  test.each(['glm-9', 'glm-5.3-flash[1m]', '[1m]', '', 'Claude', 'glm-5.3[2m]'])(
    'a name it does not know stays as it is and is flagged: %j',
    (model) => {
      expect(route(plan, model)).toEqual({ model, known: false });
    },
  );

  test('a suffix that another model has is not cut off this one', () => {
    const models = [
      { name: 'a', aliases: [], suffixes: ['+x'] },
      { name: 'b', aliases: [], suffixes: [] },
    ];
    expect(route({ models }, 'a+x').known).toBe(true);
    expect(route({ models }, 'b+x')).toEqual({ model: 'b+x', known: false });
  });

  test('a name of its own wins over a cut suffix', () => {
    const models = [
      { name: 'a', aliases: [], suffixes: ['-x'] },
      { name: 'a-x', aliases: [], suffixes: [] },
    ];
    expect(route({ models }, 'a-x')).toEqual({ model: 'a-x', known: true });
  });
});
