import { beforeEach, describe, expect, test } from 'vitest';
import { createTreeMetrics } from '#operator/controllers/metrics.ts';
import { observePod, type ObservedPod, type PodState } from '#operator/controllers/pods/observe.ts';
import { PodOwners } from '#operator/controllers/pods/owners.ts';
import type { KubeObject } from '#operator/runtime/resources.ts';
import type { Stored } from '#operator/runtime/store.ts';
import { compileTrees } from '#operator/trees/compile.ts';
import type { CompiledWorld } from '#operator/trees/terms.ts';
import { AppError } from '#sidecar/base/errors.ts';
import { createLog } from '#sidecar/base/log.ts';
import { createRegistry } from '#sidecar/base/metrics.ts';
import { agentPod } from '#test/support/edge/pods.ts';
import { account, quota, world } from '../trees/world.ts';

const compiled = compileTrees(
  world({ accounts: [account('max')], quotas: [quota('glm/team', { accountRef: { name: 'max' } })] }),
);
const TREE = compiled.accounts.get('glm/max')!.treeKey;
const { signal } = new AbortController();
const reclaim = 'reclaim true pod-1/ null';

let calls: string[];
/** What each call of reclaim ends. */
let left: { leases: number; waiters: number }[];
let isAway: boolean;
let view: { current: CompiledWorld | null };
let owners: PodOwners;

beforeEach(() => {
  calls = [];
  left = [];
  isAway = false;
  view = { current: compiled };
  owners = new PodOwners({
    engine: {
      reclaim: async (tree, { prefix, except }) => {
        if (isAway) throw new AppError('unavailable', 'Redis is away');
        calls.push(`reclaim ${tree === TREE} ${prefix} ${except}`);
        return left.shift() ?? { leases: 0, waiters: 0 };
      },
      drain: async (tree, prefix, isDraining) => void calls.push(`drain ${tree === TREE} ${prefix} ${isDraining}`),
    },
    world: view,
    log: createLog('silent'),
    metrics: createTreeMetrics(createRegistry()),
  });
});

const stored = (state: PodState, bound = 'glm/team'): Stored<ObservedPod> => ({
  key: 'glm/agent',
  uid: 'pod-1',
  resourceVersion: '1',
  value: { uid: 'pod-1', quota: bound, state },
});
const added = (state: PodState, bound?: string) => owners.note({ kind: 'added', current: stored(state, bound) });
const updated = (state: PodState) => owners.note({ kind: 'updated', current: stored(state), previous: stored('open') });
const deleted = (state: PodState) => owners.note({ kind: 'deleted', previous: stored(state) });
const work = async () => {
  const outcome = await owners.reconcile('pod-1', signal);
  return [calls.splice(0), outcome.kind];
};

test('a pod that works needs nothing', async () => {
  expect(added('open')).toBeNull();
  expect(await work()).toEqual([[], 'done']);
});

test('a pod told to end is marked draining, once', async () => {
  expect(updated('draining')).toBe('pod-1');
  expect(await work()).toEqual([['drain true pod-1 true'], 'done']);
  expect(updated('draining')).toBeNull();
});

test('a pod that is gone is marked before it is taken back, until nothing is left; a while later its mark goes', async () => {
  left = [
    { leases: 64, waiters: 64 },
    { leases: 0, waiters: 1 },
  ];
  added('open');
  expect(deleted('open')).toBe('pod-1');
  expect(await work()).toEqual([['drain true pod-1 true', reclaim, reclaim, reclaim], 'again']);
  expect(await work()).toEqual([[reclaim, 'drain true pod-1 false'], 'done']);
  expect(await work()).toEqual([[], 'done']);
});

test('a pod of which much is left is taken back in several passes, marked once', async () => {
  left = Array.from({ length: 5 }, () => ({ leases: 64, waiters: 0 }));
  deleted('open');
  expect(await work()).toEqual([['drain true pod-1 true', reclaim, reclaim, reclaim, reclaim], 'again']);
  expect(await work()).toEqual([[reclaim, reclaim], 'again']);
  expect(await work()).toEqual([[reclaim, 'drain true pod-1 false'], 'done']);
});

test('a pod that has ended is taken back before it is deleted, and not again then', async () => {
  expect(updated('gone')).toBe('pod-1');
  expect(await work()).toEqual([['drain true pod-1 true', reclaim], 'again']);
  expect(deleted('gone')).toBeNull();
  expect(await work()).toEqual([[reclaim, 'drain true pod-1 false'], 'done']);
});

test('what Redis could not be told is told later', async () => {
  isAway = true;
  deleted('open');
  await expect(owners.reconcile('pod-1', signal)).rejects.toMatchObject({ code: 'unavailable' });
  calls = [];
  isAway = false;
  expect(await work()).toEqual([[reclaim], 'again']);
});

test('a pod whose quota is in no tree is looked at again until it is deleted', async () => {
  expect(added('draining', 'glm/unknown')).toBe('pod-1');
  expect(await work()).toEqual([[], 'again']);
  owners.note({ kind: 'deleted', previous: stored('draining', 'glm/unknown') });
  expect(await work()).toEqual([[], 'done']);
});

test('a pod is taken back from the tree it was last counted in, though its quota is gone', async () => {
  updated('draining');
  await work();
  view.current = compileTrees(world({}));
  deleted('draining');
  expect(await work()).toEqual([[reclaim], 'again']);
  expect(await work()).toEqual([[reclaim, 'drain true pod-1 false'], 'done']);
});

describe('a pod', () => {
  const observed = (change: (pod: KubeObject) => KubeObject) => observePod(change(agentPod()))?.state;
  const withStatus = (status: object) => observed((pod) => ({ ...pod, status }));

  test.each([
    ['that runs is open', () => withStatus({ phase: 'Running' }), 'open'],
    ['that has ended is gone', () => withStatus({ phase: 'Succeeded' }), 'gone'],
    ['that was evicted is gone', () => withStatus({ phase: 'Failed', reason: 'Evicted' }), 'gone'],
    ['on a lost node is gone', () => withStatus({ phase: 'Running', reason: 'NodeLost' }), 'gone'],
    [
      'with a deletion timestamp is draining',
      () => observed((pod) => ({ ...pod, metadata: { ...pod.metadata, deletionTimestamp: '2026-11-21T10:00:00Z' } })),
      'draining',
    ],
    [
      'without our sidecar is none of ours',
      () => observed((pod) => ({ ...pod, spec: { initContainers: [] } })),
      undefined,
    ],
  ])('%s', (_, state, expected) => {
    expect(state()).toBe(expected);
  });
});
