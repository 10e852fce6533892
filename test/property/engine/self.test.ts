/** The model against itself, with no Redis: what it defines must hold together. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { drain } from './drain.ts';
import { runParameters } from './seed.ts';
import { checkModel, checkNobodyFits } from './self-check.ts';
import { crowdedShapes, shapes } from './shapes.ts';
import { crowdedSteps, steps } from './steps.ts';
import { Twin } from './twin.ts';

const histories = [
  { kind: 'any history', first: shapes, steps },
  { kind: 'a crowded waiting room', first: crowdedShapes, steps: crowdedSteps },
] as const;

test.each(histories)('inv-I2, inv-L1 in $kind the model counts its leases, and nobody waits who fits', async (of) => {
  let checked = 0;
  await fc.assert(
    fc.asyncProperty(of.first, of.steps, async (first, all) => {
      const twin = new Twin(null);
      await twin.begin(first);
      let latestMs = 0;
      for (const step of all) {
        await twin.step(step);
        checkModel(twin.model);
        latestMs = Math.max(latestMs, twin.nowMs);
        if (step.do !== 'advance' && twin.shape) {
          await settleDown(twin);
          // A clock that went back may be before the start of a stop; who waits for its end goes on waiting.
          if (twin.nowMs === latestMs) checkNobodyFits(twin.model);
        }
        checked += 1;
      }
      await drain(twin);
    }),
    runParameters(1000),
  );
  console.log(`${checked} states checked`);
  expect(checked).toBeGreaterThan(0);
});

/** Asks again as long as the engine wants to be asked at once; it must come to an end. */
async function settleDown(twin: Twin): Promise<void> {
  for (let asked = 0; asked < 30; asked += 1) {
    const { serverNowMs, nextTickMs } = await twin.tick();
    if (nextTickMs === null || nextTickMs > serverNowMs) return;
  }
  expect.fail('the engine wants to be asked again at once and for ever');
}
