import { deepEqual } from 'node:assert/strict';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readLedger } from '#sidecar/engine/ledger/read.ts';
import { Replay } from '#sidecar/engine/ledger/replay.ts';
import type { LedgerEntry } from '#sidecar/engine/ledger/terms.ts';
import type { LibraryVariant } from '#sidecar/engine/library.ts';
import { INJECTED, openTestEngine, TREE_KEY, type TestEngine } from '#test/support/engine.ts';
import { startRedis, type TestRedis } from '#test/support/redis.ts';
import { runParameters } from './seed.ts';
import { shapes, type Shape } from './shapes.ts';
import { steps, type Step } from './steps.ts';
import { Twin } from './twin.ts';

let server: TestRedis;
let engine: TestEngine;

/** A checkpoint every few calls. */
const OFTEN: LibraryVariant = { ...INJECTED, version: 'q2often', constants: { CHECKPOINT_MS: 6000 } };

beforeAll(async () => {
  server = await startRedis();
  engine = await openTestEngine(server.socketPath, { variant: OFTEN });
});

afterAll(async () => {
  engine.redis.disconnect();
  await server[Symbol.asyncDispose]();
});

/** The same history with more calls that do not wait. */
const hastySteps = steps.map((all) =>
  all.map((step, index): Step => (step.do === 'acquire' && index % 2 === 0 ? { ...step, mode: 'Reject' } : step)),
);

/** What one random history leaves in the ledger. */
async function entriesOf(first: Shape, all: readonly Step[]): Promise<readonly LedgerEntry[]> {
  const twin = new Twin(engine.fresh());
  await twin.begin(first);
  for (const step of all) await twin.step(step);
  const entries: LedgerEntry[] = [];
  for await (const entry of readLedger(engine.redis, TREE_KEY)) entries.push(entry);
  return entries;
}

function replayed(entries: readonly LedgerEntry[]): Replay {
  const replay = new Replay();
  for (const entry of entries) deepEqual(replay.take(entry), null);
  return replay;
}

test('L1 the replay of a ledger reproduces every verdict of a history and the state after each', async () => {
  const total = { checked: 0, denied: 0 };
  await fc.assert(
    fc.asyncProperty(shapes, hastySteps, async (first, all) => {
      const { counts } = replayed(await entriesOf(first, all));
      expect(counts).toMatchObject({ skipped: 0, gaps: 0 });
      total.checked += counts.checked;
      total.denied += counts.denied;
    }),
    runParameters(150),
  );
  console.log(`${total.checked} calls replayed, ${total.denied} denials had no entry`);
  expect(total.checked).toBeGreaterThan(0);
});

test('L1 a replay may begin at every checkpoint', async () => {
  let checked = 0;
  await fc.assert(
    fc.asyncProperty(shapes, hastySteps, async (first, all) => {
      const entries = await entriesOf(first, all);
      for (const [index, entry] of entries.entries()) {
        if (entry.kind === 'state' && entries[index - 1]?.kind !== 'state')
          checked += replayed(entries.slice(index)).counts.checked;
      }
    }),
    runParameters(100),
  );
  console.log(`${checked} calls replayed from checkpoints`);
  expect(checked).toBeGreaterThan(0);
});
