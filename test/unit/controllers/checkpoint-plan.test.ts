import { describe, expect, test } from 'vitest';
import { isDue, restorable, type StoredCheckpoint, takeCheckpoint } from '#operator/controllers/checkpoints/plan.ts';
import type { NodeSnapshot, TreeSnapshot, UsageSnapshot } from '#sidecar/engine/terms.ts';
import type { LimitConfig, TreeConfig } from '#sidecar/engine/tree-terms.ts';
import { limit, node, treeOf } from '#test/support/engine.ts';

const NOW_MS = Date.parse('2026-11-21T10:00:00Z');
const HOUR_MS = 3_600_000;
const boundariesMs = [-10, 14, 38].map((hours) => NOW_MS + hours * HOUR_MS);

const LIMITS: readonly LimitConfig[] = [
  limit('anchored', 1000, { window: { type: 'Anchored', durationMs: 5 * HOUR_MS } }),
  limit('fixed', 1000, { window: { type: 'Fixed', durationMs: HOUR_MS } }),
  limit('daily', 1000, { window: { type: 'Calendar', period: 'Day', timeZone: 'UTC', boundariesMs } }),
  limit('sliding', 1000, { window: { type: 'Sliding', durationMs: HOUR_MS } }),
];
const TREE = treeOf([node('account', null, { limits: LIMITS })]);

function usage(name: string, used: number, resetsAtMs: number | null, reserved = 0): UsageSnapshot {
  return { limit: name, resource: 'Requests', amount: 1000, used, reserved, resetsAtMs };
}

/** A tree with a rate and a limit that learns, and what is known of them. */
const LEARNING = treeOf([
  node('account', null, { rate: { intervalUs: 60_000_000, burst: 5 } }),
  node('model:glm-5.3', 'account', { concurrency: 6, adaptive: { min: 1, start: 4 } }),
]);

function learnt({ rateWaitMs = 0, concurrency = 4, atMs = NOW_MS } = {}): StoredCheckpoint {
  const plain = snapshot();
  const [account] = plain.nodes;
  const nodes = [
    { ...account!, rateWaitUs: rateWaitMs * 1000 },
    { ...account!, name: 'model:glm-5.3', concurrency },
  ];
  return takeCheckpoint(LEARNING, { ...plain, serverNowMs: atMs, nodes }, atMs);
}

function snapshot(...all: readonly UsageSnapshot[]): TreeSnapshot {
  const counts = { inFlight: 0, concurrency: null, stopped: false, queued: 0, frozenUntilMs: null };
  const account: NodeSnapshot = {
    name: 'account',
    breaker: 'Closed',
    rateWaitUs: 0,
    oldestWaiterMs: null,
    ...counts,
    usage: all,
  };
  const revision = { leaseCreatedMs: 1, transitions: 1, generation: 1 };
  return { key: TREE.key, epoch: 7, revision, configHash: 'h', serverNowMs: NOW_MS, nodes: [account], leases: 0 };
}

const taken = (atMs: number, ...all: readonly UsageSnapshot[]) => takeCheckpoint(TREE, snapshot(...all), atMs);

test('F3 a checkpoint holds what is settled and reserved, of limits that something was used of', () => {
  const checkpoint = taken(NOW_MS, usage('anchored', 5, NOW_MS + HOUR_MS, 2), usage('fixed', 0, NOW_MS + 1));
  expect(checkpoint).toEqual({
    savedAtMs: NOW_MS,
    epoch: 7,
    usage: [
      { node: 'account', limit: 'anchored', identity: 'Requests Anchored 5h', used: 7, resetsAtMs: NOW_MS + HOUR_MS },
    ],
    learnt: [],
  });
});

describe('F3 a checkpoint is written', () => {
  const end = NOW_MS + HOUR_MS;
  const last = taken(NOW_MS, usage('anchored', 100, end));
  const later = (ms: number, used: number, resetsAtMs = end) => taken(NOW_MS + ms, usage('anchored', used, resetsAtMs));

  test.each<[string, StoredCheckpoint | null, StoredCheckpoint, boolean]>([
    ['the first time something is used', null, last, true],
    ['not while nothing is', null, taken(NOW_MS), false],
    ['not without a change, however old it is', last, later(HOUR_MS, 100), false],
    ['at one percent of growth', last, later(1, 110), true],
    ['not below', last, later(1, 109), false],
    ['at any growth after thirty seconds', last, later(30_000, 101), true],
    ['not before', last, later(29_999, 101), false],
    ['not at once when use falls', last, later(1, 20), false],
    ['at one percent of a new window', last, later(1, 10, end + 1), true],
    ['when the clock was set back', last, taken(NOW_MS - 1, usage('anchored', 101, end)), true],
    ['when a window has ended, after thirty seconds', last, taken(NOW_MS + 30_000), true],
    ['not at once when a window has ended', last, taken(NOW_MS + 1), false],
  ])('%s', (_, before, next, due) => {
    expect(isDue(before, next, TREE)).toBe(due);
  });

  test('exactly, beyond what a product of doubles holds', () => {
    const amount = 9_000_000_000_000_000;
    const tree = treeOf([node('account', null, { limits: [limit('anchored', amount)] })]);
    const at = (used: number) => takeCheckpoint(tree, snapshot(usage('anchored', used, end)), NOW_MS);
    expect(isDue(at(1), at(90_000_000_000_001), tree)).toBe(true);
    expect(isDue(at(1), at(90_000_000_000_000), tree)).toBe(false);
  });
});

describe('F3 what is handed back', () => {
  const stored = taken(
    NOW_MS,
    usage('anchored', 1, NOW_MS + 2 * HOUR_MS),
    usage('fixed', 2, NOW_MS + HOUR_MS),
    usage('daily', 3, boundariesMs[1]!),
    usage('sliding', 4, null),
  );
  const restored = (nowMs: number, tree: TreeConfig = TREE) =>
    restorable(stored, tree, nowMs).usage.map(({ limit: name, used, anchorMs }) => [
      name,
      used,
      anchorMs === null ? null : (anchorMs - NOW_MS) / HOUR_MS,
    ]);

  test('has the time at which each window opened', () => {
    expect(restored(NOW_MS)).toEqual([
      ['anchored', 1, -3],
      ['fixed', 2, 0],
      ['daily', 3, -10],
      ['sliding', 4, null],
    ]);
  });

  test('N1 has both ends of what is known of the opening, and keeps a window that may have opened until it was looked at', () => {
    const seen = { ...usage('anchored', 7, NOW_MS - 1), anchor: { loMs: NOW_MS - 5 * HOUR_MS, hiMs: null } };
    const [kept] = restorable(taken(NOW_MS, seen), TREE, NOW_MS + HOUR_MS).usage;
    expect(kept).toMatchObject({ used: 7, anchorMs: null, anchorLoMs: NOW_MS - 5 * HOUR_MS });
    const known = { ...usage('anchored', 7, NOW_MS + HOUR_MS), anchor: { loMs: NOW_MS - 9000, hiMs: NOW_MS - 4000 } };
    const [exact] = restorable(taken(NOW_MS, known), TREE, NOW_MS).usage;
    expect(exact).toMatchObject({ anchorMs: NOW_MS - 4000, anchorLoMs: NOW_MS - 9000 });
    expect(restorable(taken(NOW_MS, seen), TREE, NOW_MS + 5 * HOUR_MS).usage).toEqual([]);
  });

  test('leaves out windows that have ended since', () => {
    expect(restored(NOW_MS + HOUR_MS).map(([name]) => name)).toEqual(['anchored', 'daily']);
    expect(restored(NOW_MS + 14 * HOUR_MS)).toEqual([]);
  });

  test('W4 leaves out limits that are others by now, or gone', () => {
    const others = [
      limit('anchored', 1000, { window: { type: 'Anchored', durationMs: HOUR_MS } }),
      limit('fixed', 1000, { resource: 'Tokens', window: { type: 'Fixed', durationMs: HOUR_MS } }),
      limit('daily', 5, { window: { type: 'Calendar', period: 'Day', timeZone: 'UTC', boundariesMs } }),
    ];
    const tree = treeOf([node('account', null, { limits: others })]);
    expect(restored(NOW_MS, tree).map(([name]) => name)).toEqual(['daily']);
  });
});

describe('F3 what was learnt', () => {
  const model = { node: 'model:glm-5.3', rateUntilMs: null, concurrency: 2 };
  const rate = { node: 'account', rateUntilMs: NOW_MS + 90_000, concurrency: null };

  test('is how far a rate was used ahead, and limits on calls in flight that differ from their start', () => {
    expect(learnt().learnt).toEqual([]);
    expect(learnt({ rateWaitMs: 90_000, concurrency: 2 }).learnt).toEqual([rate, model]);
  });

  test.each<[string, StoredCheckpoint | null, StoredCheckpoint, boolean]>([
    ['the first time', null, learnt({ concurrency: 2 }), true],
    ['after thirty seconds when a limit was learnt', learnt(), learnt({ concurrency: 2, atMs: NOW_MS + 30_000 }), true],
    ['not at once', learnt(), learnt({ concurrency: 2, atMs: NOW_MS + 29_999 }), false],
    ['when a rate was used further', learnt(), learnt({ rateWaitMs: 9, atMs: NOW_MS + 30_000 }), true],
    [
      'not when only time has passed',
      learnt({ rateWaitMs: 90_000 }),
      learnt({ rateWaitMs: 59_999, atMs: NOW_MS + 30_002 }),
      false,
    ],
    ['not when a wait is over', learnt({ rateWaitMs: 20_000 }), learnt({ atMs: NOW_MS + 30_000 }), false],
  ])('is written %s', (_, before, next, due) => {
    expect(isDue(before, next, LEARNING)).toBe(due);
  });

  test('is handed back while it holds, to nodes that are still there', () => {
    const stored = learnt({ rateWaitMs: 90_000, concurrency: 2 });
    expect(restorable(stored, LEARNING, NOW_MS).learnt).toEqual([rate, model]);
    expect(restorable(stored, LEARNING, NOW_MS + 90_000).learnt).toEqual([model]);
    expect(restorable(stored, TREE, NOW_MS).learnt).toEqual([rate]);
  });

  test('is nothing in a checkpoint of an earlier release', () => {
    expect(restorable({ savedAtMs: NOW_MS, epoch: 1, usage: [] }, LEARNING, NOW_MS).learnt).toEqual([]);
  });
});
