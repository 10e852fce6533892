import { beforeEach, expect, test } from 'vitest';
import { TreeSync } from '#operator/controllers/glmaccount/reconcile.ts';
import { SyncBoard } from '#operator/controllers/node-status/sync-state.ts';
import { TreeHashes } from '#operator/controllers/world/tree-hashes.ts';
import type { World } from '#operator/controllers/world/world.ts';
import type { Term } from '#operator/runtime/leader.ts';
import { compileTrees } from '#operator/trees/compile.ts';
import { AppError } from '#sidecar/base/errors.ts';
import { createLog } from '#sidecar/base/log.ts';
import type { Checkpoint, ConfigureOptions } from '#sidecar/engine/port.ts';
import type { TreeSnapshot } from '#sidecar/engine/terms.ts';
import type { Revision, TreeConfig } from '#sidecar/engine/tree-terms.ts';
import { ManualClock } from '../runtime/manual-clock.ts';
import { account, world } from '../trees/world.ts';

const compiled = compileTrees(world({ accounts: [account('max')] }));
const USED: Checkpoint = { usage: [{ node: 'account', limit: 'five-hour', used: 7, anchorMs: 1 }], learnt: [] };
const { signal } = new AbortController();

/** A Redis that holds one tree, or none. */
let held: TreeSnapshot | null;
let configured: (ConfigureOptions | undefined)[];
let checkpoint: () => Checkpoint | null;
let noted: number;
let looked: number;
let wasInForce: boolean;
let sync: TreeSync;

beforeEach(() => {
  held = null;
  configured = [];
  checkpoint = () => null;
  [noted, looked, wasInForce] = [0, 0, false];
  const engine = {
    hashOf: (tree: TreeConfig) => tree.key,
    snapshot: async () => held,
    configure: async (tree: TreeConfig, revision: Revision, options?: ConfigureOptions) => {
      configured.push(options);
      held = { key: tree.key, epoch: 1, revision, configHash: tree.key, serverNowMs: 0, nodes: [], leases: 0 };
      return { kind: 'applied' as const, generation: revision.generation };
    },
  };
  const view: Pick<World, 'current' | 'isKnown'> = { current: compiled, isKnown: () => true };
  sync = new TreeSync({
    world: view as World,
    engine,
    checkpoints: {
      recall: async () => checkpoint(),
      note: async () => void noted++,
    },
    upkeep: { look: async () => void looked++ },
    wasInForce: () => wasInForce,
    hashes: new TreeHashes(engine),
    term: { fence: { leaseCreatedMs: 1, transitions: 1 } } as Term,
    board: new SyncBoard(),
    clock: new ManualClock(),
    log: createLog('silent'),
  });
});

const bring = async () => {
  await sync.reconcile('glm/max', signal);
  return configured.at(-1);
};

test('T7 a tree that never was begins without learning', async () => {
  expect(await bring()).toEqual({});
});

test('F3 a tree that Redis lost comes back with its checkpoint', async () => {
  checkpoint = () => USED;
  expect(await bring()).toEqual({ lost: true, checkpoint: USED });
});

test('T7 a tree that this leader configured before is one that was lost', async () => {
  await bring();
  held = null;
  expect(await bring()).toEqual({ lost: true });
});

test('T7 a tree whose account’s status names a revision is one that was lost', async () => {
  wasInForce = true;
  expect(await bring()).toEqual({ lost: true });
});

test('F3 nothing is configured while the checkpoint cannot be asked for', async () => {
  checkpoint = () => {
    throw new AppError('unavailable', 'the API server is away');
  };
  await expect(sync.reconcile('glm/max', signal)).rejects.toMatchObject({ code: 'unavailable' });
  expect(configured).toEqual([]);
});

test('a changed tree that Redis still holds is changed without a word of loss', async () => {
  await bring();
  held = { ...held!, configHash: 'another' };
  expect(await bring()).toEqual({});
  expect(configured).toHaveLength(2);
});

test('with every look counters are noted and the tree is looked after', async () => {
  await bring();
  await bring();
  expect([configured.length, noted, looked]).toEqual([1, 2, 2]);
});
