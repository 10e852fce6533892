import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseGlmAccount } from '#operator/api/v1alpha1/glmaccount.ts';
import { parseGlmCatalog } from '#operator/api/v1alpha1/glmcatalog.ts';
import { parseGlmQuota } from '#operator/api/v1alpha1/glmquota.ts';
import { readShippedCatalog } from '#operator/controllers/glmcatalog/shipped.ts';
import { feedWorld, type NamespaceFacts, type OurCaches } from '#operator/controllers/world/caches.ts';
import { DifferenceFinder } from '#operator/controllers/world/differences.ts';
import { observe } from '#operator/controllers/world/kinds.ts';
import { World } from '#operator/controllers/world/world.ts';
import type { KubeObject } from '#operator/runtime/resources.ts';
import { Store } from '#operator/runtime/store.ts';
import { createCalendar } from '#operator/trees/calendar.ts';
import { readCredentialFacts } from '#operator/trees/credentials.ts';
import { treeKeyOf } from '#operator/trees/names.ts';
import { AppError } from '#sidecar/base/errors.ts';
import { createLog } from '#sidecar/base/log.ts';
import type { TreeConfig, TreeKey } from '#sidecar/engine/tree-terms.ts';
import { ManualClock, settled } from '../runtime/manual-clock.ts';

const log = createLog('silent');
const key = treeKeyOf({ namespace: 'glm', name: 'max' });

let clock: ManualClock;
let caches: OurCaches;
let stop: AbortController;
let running: Promise<void>;
let inForce: Map<TreeKey, TreeConfig>;
let isUnreadable: boolean;
let isRedisAway: boolean;
let version: number;

function object(kind: string, name: string, spec: unknown, generation = 1, annotations = {}): KubeObject {
  version += 1;
  const place = kind === 'GLMCatalog' ? {} : { namespace: 'glm' };
  const metadata = { ...place, name, uid: `uid-${name}`, resourceVersion: String(version), generation, annotations };
  return { apiVersion: 'glmquota.io/v1alpha1', kind, metadata, spec } as unknown as KubeObject;
}

function storeOf<T>(name: string, project: (from: KubeObject) => T): Store<T> {
  return new Store<T>({ name, log, project });
}

beforeEach(() => {
  clock = new ManualClock();
  version = 0;
  inForce = new Map();
  isRedisAway = false;
  isUnreadable = false;
  stop = new AbortController();
  const facts = (from: KubeObject): NamespaceFacts => ({ name: from.metadata.name, labels: {}, annotations: {} });
  caches = {
    accounts: storeOf('accounts', observe(parseGlmAccount)),
    quotas: storeOf('quotas', observe(parseGlmQuota)),
    catalogs: storeOf('catalogs', observe(parseGlmCatalog)),
    credentials: storeOf('secrets', (secret) => ({ facts: readCredentialFacts(secret) })),
    namespaces: storeOf('namespaces', facts),
  };
});

afterEach(async () => {
  stop.abort();
  await running;
});

function start(): World {
  const recall = async (asked: TreeKey): Promise<TreeConfig | null> => {
    if (isRedisAway) throw new AppError('unavailable', 'Redis is away');
    if (isUnreadable) throw new AppError('invalid', 'the text of this tree cannot be read');
    return inForce.get(asked) ?? null;
  };
  const world = new World({
    caches,
    allowedOrigins: [],
    operatorNamespace: 'glmquota',
    calendar: createCalendar(),
    clock,
    log,
    recall,
  });
  feedWorld(world, caches, stop.signal);
  running = world.run(stop.signal);
  return world;
}

function sync(): void {
  for (const store of [caches.accounts, caches.quotas, caches.namespaces]) store.replace().commit();
  const secret = {
    ...object('Secret', 'key', null),
    type: 'glmquota.io/credential',
    data: { apiKey: btoa('vendor-key-0001') },
  };
  const secrets = caches.credentials.replace();
  secrets.add(secret as unknown as KubeObject);
  secrets.commit();
  const catalogs = caches.catalogs.replace();
  catalogs.add(object('GLMCatalog', 'default', readShippedCatalog().spec));
  catalogs.commit();
}

function applyAccount(spec: object = {}, generation = 1): void {
  const whole = { billing: 'CodingPlan', region: 'International', credentialSecretRef: { name: 'key' }, ...spec };
  caches.accounts.upsert(object('GLMAccount', 'max', whole, generation));
}

function applyQuota(spec: object, generation = 1): void {
  caches.quotas.upsert(object('GLMQuota', 'team', { accountRef: { name: 'max' }, ...spec }, generation));
}

const concurrencyOf = (world: World): number | null | undefined =>
  world.current?.accounts.get('glm/max')?.tree?.nodes.find(({ name }) => name === 'quota:glm/team')?.concurrency;

test('nothing is compiled before every cache has synced', async () => {
  const world = start();
  applyAccount();
  await clock.advance(5000);
  expect(world.current).toBeNull();
  sync();
  await clock.advance(100);
  expect(world.current).not.toBeNull();
});

test('changes that come together are compiled once', async () => {
  const world = start();
  sync();
  await clock.advance(1000);
  let compilations = 0;
  world.subscribe(() => (compilations += 1));
  for (let turn = 2; turn < 50; turn++) applyAccount({ concurrency: { max: turn } }, turn);
  await clock.advance(500);
  // The second is for what Redis said to be in force.
  expect(compilations).toBeLessThanOrEqual(2);
  expect(world.current?.accounts.get('glm/max')?.tree?.nodes[0]?.concurrency).toBe(49);
});

test('W5 a rotation asked for by annotation is told to whoever follows the world, other annotations are not', async () => {
  const world = start();
  sync();
  applyAccount();
  await clock.advance(5000);
  let compilations = 0;
  world.subscribe(() => (compilations += 1));
  const annotate = async (annotations: object): Promise<number> => {
    const spec = { billing: 'CodingPlan', region: 'International', credentialSecretRef: { name: 'key' } };
    caches.accounts.upsert(object('GLMAccount', 'max', spec, 1, annotations));
    await clock.advance(500);
    return compilations;
  };
  expect(await annotate({ note: 'of no concern' })).toBe(0);
  expect(await annotate({ 'glmquota.io/rotate-redis-user': '2026-11-26T07:00:00Z' })).toBe(1);
});

test('a tree is known only once Redis has said what is in force', async () => {
  isRedisAway = true;
  const world = start();
  sync();
  applyAccount();
  await clock.advance(10_000);
  expect([world.isKnown(key), world.isAllKnown]).toEqual([false, false]);
  isRedisAway = false;
  await clock.advance(2000);
  expect([world.isKnown(key), world.isAllKnown]).toEqual([true, true]);
});

test('W5 a tree whose text nobody can read is written anew, not asked for without end', async () => {
  isUnreadable = true;
  const world = start();
  sync();
  applyAccount();
  await clock.advance(10_000);
  expect(world.isKnown(key)).toBe(true);
  expect(world.current?.accounts.get('glm/max')?.tree).not.toBeNull();
});

test('a quota that is bad when we start keeps the limits that Redis has', async () => {
  const world = start();
  sync();
  applyAccount();
  applyQuota({ concurrency: { max: 2 } });
  await clock.advance(1000);
  const tree = world.current?.accounts.get('glm/max')?.tree;
  stop.abort();
  await running;
  stop = new AbortController();
  inForce.set(key, tree!);
  applyQuota({ concurrency: { max: 5 }, limits: [{ name: 'nothing', amount: '10%' }] }, 2);
  const anew = start();
  await clock.advance(1000);
  expect(concurrencyOf(anew)).toBe(2);
  expect(anew.current?.quotas.get('glm/team')?.verdict.reason).toBe('InvalidLimits');
  expect(anew.generationOf('GLMQuota', 'glm/team')).toBe(2);
});

test('a tree is not known before it was compiled with what Redis said', async () => {
  const world = start();
  sync();
  applyAccount();
  applyQuota({ concurrency: { max: 2 } });
  await clock.advance(1000);
  inForce.set(key, world.current!.accounts.get('glm/max')!.tree!);
  stop.abort();
  await running;
  stop = new AbortController();
  applyQuota({ concurrency: { max: 5 }, limits: [{ name: 'nothing', amount: '10%' }] }, 2);
  const anew = start();
  const seen = new Set<number | null | undefined>();
  for (let ms = 0; ms < 200; ms++) {
    await clock.advance(1);
    if (anew.isKnown(key)) seen.add(concurrencyOf(anew));
  }
  expect(seen).toEqual(new Set([2]));
});

test('a catalog that goes bad stays as it was', async () => {
  const world = start();
  sync();
  applyAccount();
  await clock.advance(1000);
  caches.catalogs.upsert(object('GLMCatalog', 'default', { models: [{ name: 'other' }] }, 2));
  await clock.advance(1000);
  expect(caches.catalogs.get('default')?.parsed.ok).toBe(false);
  expect(world.current?.accounts.get('glm/max')?.verdict.reason).toBe('QuotaActive');
});

test('only what changed is told to be different', async () => {
  const world = start();
  const finder = new DifferenceFinder();
  sync();
  applyAccount();
  applyQuota({ concurrency: { max: 2 } });
  await clock.advance(1000);
  expect(finder.next(world)).toEqual({ accounts: ['glm/max'], quotas: ['glm/team'] });
  world.touch();
  await clock.advance(1000);
  expect(finder.next(world)).toEqual({ accounts: [], quotas: [] });
  applyQuota({ concurrency: { max: 2 } }, 2);
  await clock.advance(1000);
  expect(finder.next(world)).toEqual({ accounts: [], quotas: ['glm/team'] });
  caches.quotas.remove(object('GLMQuota', 'team', {}));
  await clock.advance(1000);
  expect(finder.next(world)).toEqual({ accounts: ['glm/max'], quotas: ['glm/team'] });
});

test('a quota deleted and made again between two looks is told to be different', async () => {
  const world = start();
  const finder = new DifferenceFinder();
  sync();
  applyAccount();
  applyQuota({ concurrency: { max: 2 } });
  await clock.advance(1000);
  finder.next(world);
  const again = object('GLMQuota', 'team', { accountRef: { name: 'max' }, concurrency: { max: 2 } });
  caches.quotas.upsert({ ...again, metadata: { ...again.metadata, uid: 'uid-of-its-successor' } });
  await clock.advance(1000);
  expect(finder.next(world)).toEqual({ accounts: [], quotas: ['glm/team'] });
});

test('calendar windows are given new boundaries when theirs run out', async () => {
  const world = start();
  sync();
  const hourly = { name: 'hourly', resource: 'Requests', amount: 5, window: { type: 'Calendar', period: 'Hour' } };
  applyAccount({ limits: [hourly] });
  await clock.advance(1000);
  const boundaries = () => {
    const window = world.current?.accounts.get('glm/max')?.tree?.nodes[0]?.limits[0]?.window;
    return window?.type === 'Calendar' ? window.boundariesMs[0] : undefined;
  };
  const before = boundaries();
  const staleAtMs = world.current?.staleAtMs ?? 0;
  // Timers of tests are cheap, but a thousand compilations are not: jump to just before.
  stop.abort();
  await running;
  stop = new AbortController();
  clock = new ManualClock(staleAtMs - 30_000);
  const later = start();
  await clock.advance(10_000);
  const atLeast = () => later.current?.accounts.get('glm/max')?.tree?.nodes[0]?.limits[0]?.window;
  expect(atLeast()).toMatchObject({ boundariesMs: expect.arrayContaining([before]) as unknown });
  await clock.advance(31_000);
  await settled();
  expect(atLeast()).not.toMatchObject({ boundariesMs: expect.arrayContaining([before]) as unknown });
});
