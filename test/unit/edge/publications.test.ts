import { expect, test } from 'vitest';
import { Publications } from '#operator/edge/publications.ts';
import type { RedisAccess, TreeState } from '#operator/edge/terms.ts';
import { createCell } from '#sidecar/base/cell.ts';
import { decodeSnapshot } from '#sidecar/control/decode.ts';
import { DEMANDS, exampleSnapshot, VERSION } from '#test/support/control/snapshots.ts';
import { TestRevisions, TestWorld, teamQuota } from '#test/support/edge/world.ts';

const QUESTION = {
  namespace: 'team-a',
  serviceAccount: 'default',
  quota: { namespace: 'glm', name: 'team-a' },
  perAgentConcurrency: 2,
  pool: null,
};

const problems = [{ path: 'spec', message: 'is no object' }];
const UNPARSED_ACCOUNT = { kind: 'GLMAccount', namespace: 'glm', name: 'max', uid: 'uid-max', problems } as const;
const UNPARSED_QUOTA = { kind: 'GLMQuota', namespace: 'glm', name: 'team-a', uid: '', problems } as const;

function fail(): never {
  throw new Error('asked for the access of another tree');
}

function publishing() {
  const world = new TestWorld();
  const settings = exampleSnapshot().redis;
  const redis = createCell<RedisAccess | null>((tree, rotation) =>
    tree !== world.treeKey ? fail() : rotation === null ? settings : { ...settings, password: rotation },
  );
  const compared: boolean[] = [];
  const tree = { state: world.stateOf(1) as TreeState | null };
  const trees = { state: () => tree.state, compare: (_: string, same: boolean) => void compared.push(same) };
  const publications = new Publications({
    world,
    caches: world,
    revisions: new TestRevisions(),
    trees,
    redis,
    demands: DEMANDS,
  });
  return { world, redis, tree, compared, decide: (change = {}) => publications.decide({ ...QUESTION, ...change }) };
}

test('a bound pod is sent tree, catalog, key and Redis as a sidecar reads them', () => {
  const { decide, world } = publishing();
  const publication = decide();
  if (publication.kind !== 'ready') throw new Error(publication.kind);
  expect(decodeSnapshot(publication.snapshot, VERSION)).toMatchObject({
    revision: { generation: 1 },
    binding: {
      treeKey: world.treeKey,
      quota: 'glm/team-a',
      leaf: 'quota:glm/team-a',
      path: ['quota:glm/team-a', 'account'],
      currency: 'USD',
      perAgentConcurrency: 2,
    },
    upstream: { origin: 'https://api.z.ai', billing: 'CodingPlan', apiKey: 'vendor-key' },
    redis: exampleSnapshot().redis,
  });
});

test('the same content is the same object, whoever compiles it again', () => {
  const { decide, world } = publishing();
  const first = decide();
  world.change({});
  expect(decide()).toEqual(first);
  const [a, b] = [first, decide()].map((each) => (each.kind === 'ready' ? each.snapshot : null));
  expect(a).toBe(b);
});

test('pods of one quota with different limits of their own are sent different snapshots', () => {
  const { decide } = publishing();
  const alone = decide({ perAgentConcurrency: null });
  expect(alone.kind === 'ready' && alone.snapshot.binding?.perAgentConcurrency).toBe(0);
});

test('a pod is told its namespace and its pool, which its calls cannot change', () => {
  const { decide } = publishing();
  const attributesOf = (change: object) => {
    const publication = decide(change);
    if (publication.kind !== 'ready') throw new Error(publication.kind);
    return decodeSnapshot(publication.snapshot, VERSION).binding.attributes;
  };
  expect(attributesOf({})).toEqual({ namespace: 'team-a' });
  expect(attributesOf({ pool: 'reviewers' })).toEqual({ namespace: 'team-a', pool: 'reviewers' });
  expect(attributesOf({ namespace: 'team-b' })).toEqual({ namespace: 'team-b' });
});

test('a tree that Redis holds otherwise is not published until they agree', () => {
  const { decide, tree, world, compared } = publishing();
  decide();
  world.change({ quotas: [teamQuota({ concurrency: { mode: 'Fixed', max: 7 } })] });
  expect(decide()).toMatchObject({ kind: 'pending', treeKey: world.treeKey });
  tree.state = world.stateOf(2);
  const later = decide();
  expect(later.kind === 'ready' && later.snapshot.revision?.generation).toBe(2n);
  expect(compared).toEqual([true, false, true]);
});

test.each<[string, (setup: ReturnType<typeof publishing>) => void]>([
  ['the caches have not synced', ({ world }) => world.unsync()],
  ['Redis holds no tree', ({ tree }) => (tree.state = null)],
  ['the credentials of Redis are missing', ({ redis }) => redis.set(null)],
  ["the vendor's key is missing", ({ world }) => (world.credentialInCache = null)],
  ['the account does not parse', ({ world }) => world.change({ accounts: [], invalid: [UNPARSED_ACCOUNT] })],
  ['the quota does not parse', ({ world }) => world.change({ quotas: [], invalid: [UNPARSED_QUOTA] })],
  [
    'what was in force is not read yet and the quota names no account',
    ({ world }) => {
      world.isAllKnown = false;
      world.change({ quotas: [teamQuota({ accountRef: { name: 'mx' } })] });
    },
  ],
])('nothing new is said while %s', (_, change) => {
  const setup = publishing();
  change(setup);
  expect(setup.decide().kind).toBe('pending');
});

test('W5 a rotated user is published under the same revision, by the annotation of the account', () => {
  const { decide, world } = publishing();
  decide();
  world.rotationInCache = 'password-of-the-rotation';
  const rotated = decide();
  expect(rotated.kind === 'ready' && rotated.snapshot.redis?.password).toBe('password-of-the-rotation');
});

test('a changed key of the vendor and changed access to Redis are published under the same revision', () => {
  const { decide, redis, world } = publishing();
  decide();
  world.credentialInCache = { apiKey: 'rotated', origin: null, caPem: null };
  const rotated = decide();
  expect(rotated.kind === 'ready' && rotated.snapshot.upstream?.apiKey).toBe('rotated');
  const other = { url: 'rediss://other:6379', username: null, password: null, caPem: null };
  redis.set(() => other);
  const moved = decide();
  expect(moved.kind === 'ready' && moved.snapshot.redis?.url).toBe('rediss://other:6379');
});

test.each<[string, (setup: ReturnType<typeof publishing>) => void]>([
  ['QuotaNotFound', ({ world }) => world.change({ quotas: [] })],
  ['AccountNotFound', ({ world }) => world.change({ accounts: [] })],
  ['CredentialMissing', ({ world }) => world.change({ credentials: new Map() })],
  ['QuotaNotGranted', ({ world }) => world.change({ quotas: [teamQuota({ consumers: { from: 'Same' } })] })],
  [
    'QuotaNotGranted',
    ({ world }) => world.change({ quotas: [teamQuota({ consumers: { from: 'All', serviceAccounts: ['runner'] } })] }),
  ],
])('%s takes away what was sent', (reason, change) => {
  const setup = publishing();
  expect(setup.decide().kind).toBe('ready');
  change(setup);
  expect(setup.decide()).toMatchObject({ kind: 'refused', message: expect.stringContaining(`${reason}: `) });
});
