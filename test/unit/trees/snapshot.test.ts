import { expect, test } from 'vitest';
import { compileTrees } from '#operator/trees/compile.ts';
import { composeSnapshot, type SnapshotParts } from '#operator/trees/snapshot.ts';
import type { CompileInput } from '#operator/trees/terms.ts';
import { account, catalog, quota, world } from './world.ts';

function parts(input: Partial<CompileInput>, accountSpec: object = {}): SnapshotParts {
  const compiled = compileTrees(
    world({
      accounts: [account('max', { currency: 'CNY', billing: 'TeamSeat', durability: 'Strict', ...accountSpec })],
      quotas: [
        quota('glm/team', { accountRef: { name: 'max' }, maxRuntime: '5m', stop: { policy: 'HoldAndDrain' } }),
        quota('glm/leaf', { parentRef: { name: 'team' }, waiting: { mode: 'UntilSlot' } }),
      ],
      ...input,
    }),
  );
  return {
    quota: compiled.quotas.get('glm/leaf')!,
    account: compiled.accounts.get('glm/max')!,
    catalog,
    credential: { apiKey: 'id.secret', origin: null, caPem: 'pem' },
    redis: { url: 'redis://127.0.0.1:1', username: null, password: null, caPem: null },
    revision: { leaseCreatedMs: 1, transitions: 2, generation: 3 },
    perAgentConcurrency: 2,
    attributes: { namespace: 'glm' },
  };
}

test('a sidecar is told its tree, its path, its upstream and prices in the account’s currency only', () => {
  const snapshot = composeSnapshot(
    parts({}, { onStoreFailure: { policy: 'Open', maxDuration: '1m' }, retry: { maxAttempts: 1 } }),
  );
  expect(snapshot).toMatchObject({
    revision: { leaseCreatedMs: 1, transitions: 2, generation: 3 },
    binding: {
      quota: 'glm/leaf',
      leaf: 'quota:glm/leaf',
      path: ['quota:glm/leaf', 'quota:glm/team', 'account'],
      currency: 'CNY',
      perAgentConcurrency: 2,
      maxRuntimeMs: 300_000,
      waiting: { mode: 'UntilSlot', maxWaitMs: 240_000 },
      class: { default: 'Normal', max: 'High' },
      attributes: { namespace: 'glm' },
      drained: true,
      durability: 'Strict',
      onStoreFailure: { policy: 'Open', localSharePercent: 50, maxDurationMs: 60_000 },
      retry: { maxAttempts: 1, baseDelayMs: 1000, factorPermille: 2000, maxDelayMs: 30_000 },
    },
    upstream: { origin: 'https://api.z.ai', billing: 'TeamSeat', apiKey: 'id.secret', caPem: 'pem' },
  });
  expect(snapshot.binding.treeKey).toMatch(/^[a-z2-7]{26}$/);
  expect(snapshot.catalog.prices.map(({ currency }) => currency)).toEqual(['CNY']);
  expect(snapshot.catalog).not.toHaveProperty('plans');
});

test('an account without a usable key serves nobody, and says why', () => {
  expect(() => composeSnapshot(parts({ credentials: new Map() }))).toThrow(
    /glm\/max cannot be served: there is no Secret/,
  );
});

test('nobody is bound to a quota that counts by match', () => {
  const match = { tools: ['search'] };
  const scope = quota('glm/leaf', { parentRef: { name: 'team' }, match });
  const team = quota('glm/team', { accountRef: { name: 'max' } });
  expect(() => composeSnapshot(parts({ quotas: [team, scope] }))).toThrow(/glm\/leaf cannot be bound/);
});
