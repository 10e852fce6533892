import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openTestEngine, type TestEngine } from '#test/support/engine.ts';
import { startRedis, type TestRedis } from '#test/support/redis.ts';
import { drain } from './drain.ts';
import { runParameters } from './seed.ts';
import { crowdedShapes, shapes } from './shapes.ts';
import { crowdedSteps, steps } from './steps.ts';
import { Twin } from './twin.ts';

let server: TestRedis;
let engine: TestEngine;

beforeAll(async () => {
  server = await startRedis();
  engine = await openTestEngine(server.socketPath);
});

afterAll(async () => {
  engine.redis.disconnect();
  await server[Symbol.asyncDispose]();
});

const histories = [
  { kind: 'any history', first: shapes, steps, runs: 1000 },
  { kind: 'a crowded waiting room', first: crowdedShapes, steps: crowdedSteps, runs: 500 },
] as const;

test.each(histories)(
  'inv-I2, inv-L1, inv-L4 in $kind the engine does as the model, and in the end nobody waits',
  async (of) => {
    let checked = 0;
    await fc.assert(
      fc.asyncProperty(of.first, of.steps, async (first, all) => {
        const twin = new Twin(engine.fresh());
        await twin.begin(first);
        for (const step of all) {
          await twin.step(step);
          await twin.compare();
          checked += 1;
        }
        await drain(twin);
      }),
      runParameters(of.runs),
    );
    console.log(`${checked} states checked`);
    expect(checked).toBeGreaterThan(0);
  },
);
