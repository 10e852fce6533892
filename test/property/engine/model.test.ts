import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openTestEngine, type TestEngine } from '#test/support/engine.ts';
import { startRedis, type TestRedis } from '#test/support/redis.ts';
import { drain } from './drain.ts';
import { runParameters } from './seed.ts';
import { shapes } from './shapes.ts';
import { steps } from './steps.ts';
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

test('inv-I2, inv-L1, inv-L4 the engine answers every call as the model does, counts its leases, and in the end nobody waits', async () => {
  let checked = 0;
  await fc.assert(
    fc.asyncProperty(shapes, steps, async (first, all) => {
      const twin = new Twin(engine.fresh());
      await twin.begin(first);
      for (const step of all) {
        await twin.step(step);
        await twin.compare();
        checked += 1;
      }
      await drain(twin);
    }),
    runParameters(1000),
  );
  console.log(`${checked} states checked`);
  expect(checked).toBeGreaterThan(0);
});
