/** Random histories that the engine, in a Redis of its own, and the reference model live through side by side. */
import fc from 'fast-check';
import { afterAll, beforeAll } from 'vitest';
import { openTestEngine, type TestEngine } from '#test/support/engine.ts';
import { startRedis, type TestRedis } from '#test/support/redis.ts';
import { drain } from './drain.ts';
import { runParameters } from './seed.ts';
import type { Shape } from './shapes.ts';
import type { Step } from './steps.ts';
import { Twin } from './twin.ts';

export interface Histories {
  readonly first: fc.Arbitrary<Shape>;
  readonly steps: fc.Arbitrary<readonly Step[]>;
  readonly runs: number;
}

/** How many states of the two were the same; fails with the shortest history after which they differ, or somebody waits. */
export function useHistories(): (of: Histories) => Promise<number> {
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
  return async (of) => {
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
    return checked;
  };
}
