import { beforeEach, expect, test } from 'vitest';
import { Checkpoints } from '#operator/controllers/checkpoints/checkpoints.ts';
import { createTreeMetrics } from '#operator/controllers/metrics.ts';
import type { KubeIntent, KubeObject, ObjectKey } from '#operator/runtime/resources.ts';
import { AppError } from '#sidecar/base/errors.ts';
import { createLog } from '#sidecar/base/log.ts';
import { createRegistry } from '#sidecar/base/metrics.ts';
import type { NodeSnapshot, TreeSnapshot } from '#sidecar/engine/terms.ts';
import { limit, node, treeOf } from '#test/support/engine.ts';
import { ManualClock } from '../runtime/manual-clock.ts';

const HOUR_MS = 3_600_000;
const TREE = treeOf([node('account', null, { limits: [limit('five-hour', 100)] })]);
const NAME = `glmquota-checkpoint-${TREE.key}`;
const { signal } = new AbortController();

/** Secrets as the API server keeps them: versions grow, and an apply with an old one conflicts. */
class Secrets {
  readonly objects = new Map<string, KubeObject>();
  isAway = false;
  #version = 0;

  get = async (_type: unknown, { namespace, name }: ObjectKey): Promise<KubeObject | null> => {
    if (this.isAway) throw new AppError('unavailable', 'the API server is away');
    return this.objects.get(`${namespace}/${name}`) ?? null;
  };

  apply = async (_type: unknown, object: KubeIntent): Promise<KubeObject> => {
    if (this.isAway) throw new AppError('unavailable', 'the API server is away');
    const { namespace, name = '', resourceVersion } = object.metadata;
    const id = `${namespace}/${name}`;
    const held = this.objects.get(id)?.metadata.resourceVersion;
    if (resourceVersion !== undefined && resourceVersion !== held) throw new AppError('conflict', 'another version');
    const metadata = { namespace: namespace ?? '', name, uid: 'u', resourceVersion: String(++this.#version) };
    const stored: KubeObject = { ...object, metadata };
    this.objects.set(id, stored);
    return stored;
  };
}

let secrets: Secrets;
let clock: ManualClock;
let checkpoints: Checkpoints;

function start(): Checkpoints {
  const metrics = createTreeMetrics(createRegistry());
  const place = { client: secrets, namespace: 'glmquota', prefix: 'glmquota-checkpoint-' };
  return new Checkpoints({ ...place, clock, log: createLog('silent'), metrics });
}

beforeEach(() => {
  secrets = new Secrets();
  clock = new ManualClock();
  checkpoints = start();
});

function snapshot(used: number): TreeSnapshot {
  const reset = { resetsAtMs: clock.nowMs() + HOUR_MS };
  const usage = [{ limit: 'five-hour', resource: 'Requests' as const, amount: 100, used, reserved: 0, ...reset }];
  const counts = { inFlight: 0, concurrency: null, stopped: false, queued: 0, frozenUntilMs: null };
  const account: NodeSnapshot = {
    name: 'account',
    breaker: 'Closed',
    rateWaitUs: 0,
    oldestWaiterMs: null,
    ...counts,
    usage,
  };
  const revision = { leaseCreatedMs: 1, transitions: 1, generation: 1 };
  return { key: TREE.key, epoch: 1, revision, configHash: 'h', serverNowMs: 0, nodes: [account], leases: 0 };
}

const versionOf = () => secrets.objects.get(`glmquota/${NAME}`)?.metadata.resourceVersion;
const usedOf = async (from: Checkpoints) => (await from.recall(TREE, signal))?.usage.map(({ used }) => used);

test('F3 what was noted is recalled by another leader', async () => {
  await checkpoints.note(TREE, snapshot(42), signal);
  expect(await usedOf(start())).toEqual([42]);
});

test('a tree that never had one has none, not even an empty one', async () => {
  expect(await checkpoints.recall(TREE, signal)).toBeNull();
  await checkpoints.note(TREE, snapshot(0), signal);
  expect(await checkpoints.recall(TREE, signal)).toBeNull();
});

test('an idle tree costs no writes', async () => {
  const idle = snapshot(42);
  await checkpoints.note(TREE, idle, signal);
  const first = versionOf();
  await clock.advance(60_000);
  await checkpoints.note(TREE, idle, signal);
  expect(versionOf()).toBe(first);
});

test('a write of somebody else is not overwritten blindly, but with the next look', async () => {
  await checkpoints.note(TREE, snapshot(10), signal);
  await start().note(TREE, snapshot(20), signal);
  await checkpoints.note(TREE, snapshot(30), signal);
  expect(await usedOf(start())).toEqual([20]);
  await checkpoints.note(TREE, snapshot(31), signal);
  expect(await usedOf(start())).toEqual([31]);
});

test('an API server that is away fails no look at a tree, and what is not known is not taken for nothing', async () => {
  secrets.isAway = true;
  await checkpoints.note(TREE, snapshot(42), signal);
  await expect(checkpoints.recall(TREE, signal)).rejects.toMatchObject({ code: 'unavailable' });
  secrets.isAway = false;
  await checkpoints.note(TREE, snapshot(42), signal);
  expect(await usedOf(checkpoints)).toEqual([42]);
});

test('a checkpoint that cannot be read is none, and is replaced', async () => {
  const metadata = { namespace: 'glmquota', name: NAME, uid: 'u', resourceVersion: '1' };
  const data = { 'usage.json.gz': btoa('nonsense') };
  secrets.objects.set(`glmquota/${NAME}`, { apiVersion: 'v1', kind: 'Secret', metadata, data });
  expect(await checkpoints.recall(TREE, signal)).toBeNull();
  await checkpoints.note(TREE, snapshot(42), signal);
  expect(await usedOf(start())).toEqual([42]);
});
