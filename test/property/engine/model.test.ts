import { expect, test } from 'vitest';
import { useHistories } from './histories.ts';
import { shapes } from './shapes.ts';
import { steps } from './steps.ts';

const live = useHistories();

test('inv-I2, inv-L1, inv-L4 in any history the engine does as the model, and in the end nobody waits', async () => {
  expect(await live({ first: shapes, steps, runs: 1000 })).toBeGreaterThan(0);
});
