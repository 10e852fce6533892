import { expect, test } from 'vitest';
import { compileTrees } from '#operator/trees/compile.ts';
import { composeSnapshot, type SnapshotParts } from '#operator/trees/snapshot.ts';
import type { CompileInput } from '#operator/trees/terms.ts';
import { account, catalog, quota, world } from './world.ts';

function parts(input: Partial<CompileInput>): SnapshotParts {
  const compiled = compileTrees(
    world({
      accounts: [account('max', { currency: 'CNY', billing: 'TeamSeat' })],
      quotas: [quota('glm/team', { accountRef: { name: 'max' } }), quota('glm/leaf', { parentRef: { name: 'team' } })],
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
  const snapshot = composeSnapshot(parts({}));
  expect(snapshot).toMatchObject({
    revision: { leaseCreatedMs: 1, transitions: 2, generation: 3 },
    binding: {
      quota: 'glm/leaf',
      leaf: 'quota:glm/leaf',
      path: ['quota:glm/leaf', 'quota:glm/team', 'account'],
      currency: 'CNY',
      perAgentConcurrency: 2,
      maxRuntimeMs: 3_600_000,
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
