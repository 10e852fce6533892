import { expect, onTestFinished, test } from 'vitest';
import type { TreeState } from '#operator/edge/terms.ts';
import { TreeWatch } from '#operator/edge/tree-watch.ts';
import { AppError } from '#sidecar/base/errors.ts';
import { createLog } from '#sidecar/base/log.ts';
import { ManualClock, settled } from '#test/unit/leases/fixtures.ts';

function watching() {
  const clock = new ManualClock();
  const redis = { state: null as TreeState | null, down: false, reads: 0 };
  const seen = { changes: 0, differing: [] as string[] };
  const trees = new TreeWatch({
    revisions: {
      read: async () => {
        redis.reads++;
        if (redis.down) throw new AppError('unavailable', 'Redis is away');
        return redis.state && structuredClone(redis.state);
      },
      hashOf: () => '',
    },
    onChange: () => seen.changes++,
    onDiffers: (key) => seen.differing.push(key),
    clock,
    log: createLog('silent'),
  });
  onTestFinished(() => trees[Symbol.dispose]());
  return { clock, redis, seen, trees };
}

const state = (generation: number, configHash = 'h'): TreeState => ({
  revision: { leaseCreatedMs: 1, transitions: 1, generation },
  configHash,
});

test('a tree in use is read at once and then every second; equal states are one object', async () => {
  const { clock, redis, seen, trees } = watching();
  redis.state = state(1);
  using _ = trees.use('a');
  await settled();
  const first = trees.state('a');
  expect(first).toEqual(state(1));
  await clock.advance(3_000);
  expect([redis.reads, seen.changes, trees.state('a') === first]).toEqual([4, 1, true]);
  redis.state = state(2);
  await clock.advance(1_000);
  expect([seen.changes, trees.state('a')]).toEqual([2, state(2)]);
});

test('a tree nobody uses is not read any more', async () => {
  const { clock, redis, trees } = watching();
  const first = trees.use('a');
  const second = trees.use('a');
  await settled();
  first[Symbol.dispose]();
  await clock.advance(2_000);
  expect(redis.reads).toBe(3);
  second[Symbol.dispose]();
  await clock.advance(10_000);
  expect([redis.reads, clock.sleeping]).toEqual([3, 0]);
});

test('while Redis is away the last state stays', async () => {
  const { clock, redis, seen, trees } = watching();
  redis.state = state(1);
  using _ = trees.use('a');
  await settled();
  redis.down = true;
  await clock.advance(60_000);
  expect([trees.state('a'), seen.changes]).toEqual([state(1), 1]);
});

test('a tree Redis lost is not in force', async () => {
  const { clock, redis, trees } = watching();
  redis.state = state(1);
  using _ = trees.use('a');
  await settled();
  redis.state = null;
  await clock.advance(1_000);
  expect(trees.state('a')).toBeNull();
});

test('a difference is looked at often for a while, and told when it stays', async () => {
  const { clock, redis, seen, trees } = watching();
  redis.state = state(1);
  using _ = trees.use('a');
  await settled();
  trees.compare('a', false);
  await clock.advance(1_000);
  expect(redis.reads).toBeGreaterThan(15);
  expect(seen.differing).toEqual([]);
  await clock.advance(30_000);
  expect(redis.reads).toBeLessThan(160);
  expect(seen.differing.length).toBeGreaterThanOrEqual(4);
  trees.compare('a', true);
  const told = seen.differing.length;
  await clock.advance(30_000);
  expect(seen.differing).toHaveLength(told);
});
