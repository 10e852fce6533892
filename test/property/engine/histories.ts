/** Histories that the engine, in a Redis of its own, and the reference model live through side by side. */
import fc from 'fast-check';
import { afterAll, beforeAll } from 'vitest';
import { openTestEngine, type TestEngine } from '#test/support/engine.ts';
import { startRedis, type TestRedis } from '#test/support/redis.ts';
import { drain } from './drain.ts';
import { runParameters } from './seed.ts';
import type { Shape } from './shapes.ts';
import type { Step } from './steps.ts';
import { Twin } from './twin.ts';

/** One Redis for a test file; a twin on an empty one. */
export function useTwins(): () => Twin {
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
  return () => new Twin(engine.fresh());
}

/** Fails where the two differ after a step, or somebody waits in the end. How many states were the same. */
export async function live(twin: Twin, first: Shape, steps: readonly Step[]): Promise<number> {
  await twin.begin(first);
  for (const step of steps) {
    await twin.step(step);
    await twin.compare();
  }
  await drain(twin);
  return steps.length;
}

export interface Histories {
  readonly first: fc.Arbitrary<Shape>;
  readonly steps: fc.Arbitrary<readonly Step[]>;
  readonly runs: number;
}

/** How many states of the two were the same; fails with the shortest history that `live` fails with. */
export function useHistories(): (of: Histories) => Promise<number> {
  const twin = useTwins();
  return async (of) => {
    let checked = 0;
    await fc.assert(
      fc.asyncProperty(of.first, of.steps, async (first, steps) => {
        checked += await live(twin(), first, steps);
      }),
      runParameters(of.runs),
    );
    console.log(`${checked} states checked`);
    return checked;
  };
}
