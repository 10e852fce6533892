/** Beside `model.test.ts` in a file of its own, so that both run at the same time. */
import { expect, test } from 'vitest';
import { useHistories } from './histories.ts';
import { crowdedShapes } from './shapes.ts';
import { crowdedSteps } from './steps.ts';

const live = useHistories();

test('inv-I2, inv-L1, inv-L4 in a crowded waiting room the engine does as the model, and in the end nobody waits', async () => {
  expect(await live({ first: crowdedShapes, steps: crowdedSteps, runs: 500 })).toBeGreaterThan(0);
});
