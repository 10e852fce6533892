import { deepEqual } from 'node:assert/strict';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readLedger } from '#sidecar/engine/ledger.ts';
import { Replay } from '#sidecar/engine/replay.ts';
import { openTestEngine, TREE_KEY, type TestEngine } from '#test/support/engine.ts';
import { startRedis, type TestRedis } from '#test/support/redis.ts';
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

test('L1 the replay of a ledger reproduces every verdict of a history and the state after each', async () => {
  const total = { checked: 0, denied: 0 };
  await fc.assert(
    fc.asyncProperty(shapes, steps, async (first, all) => {
      const twin = new Twin(engine.fresh());
      await twin.begin(first);
      for (const step of all) await twin.step(step);
      const replay = new Replay();
      for await (const entry of readLedger(engine.redis, TREE_KEY)) deepEqual(replay.take(entry), null);
      expect(replay.counts).toMatchObject({ skipped: 0, gaps: 0 });
      total.checked += replay.counts.checked;
      total.denied += replay.counts.denied;
    }),
    runParameters(150),
  );
  console.log(`${total.checked} calls replayed, ${total.denied} denials had no entry`);
  expect(total.checked).toBeGreaterThan(0);
});
