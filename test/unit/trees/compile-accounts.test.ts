import { describe, expect, test } from 'vitest';
import { compileTrees } from '#operator/trees/compile.ts';
import type { CompiledWorld } from '#operator/trees/terms.ts';
import { HELD } from '#test/support/engine.ts';
import { account, catalog, HOUR_MS, inForce, nodeNames, nodeOf, quota, world } from './world.ts';

const verdictOf = (compiled: CompiledWorld, id: string) => {
  const { active, reason } = compiled.quotas.get(id)!.verdict;
  return { active, reason };
};
const bad = (reason: string) => ({ active: false, reason });
const limit = (name: string, amount: unknown, rest: object = {}) => ({ name, amount, ...rest });
const max = account('max', { plan: { name: 'Max', generation: 'Credits' }, concurrency: { max: 4 } });

describe('the account', () => {
  test('carries its plan’s limits as anchored windows in the plan’s unit', () => {
    const compiled = compileTrees(world({ accounts: [max] }));
    expect(nodeOf(compiled, 'glm/max', 'account')?.limits).toEqual([
      {
        name: 'five-hour',
        resource: 'Credits',
        amount: 28_000_000_000,
        window: { type: 'Anchored', durationMs: 5 * HOUR_MS },
      },
      {
        name: 'weekly',
        resource: 'Credits',
        amount: 140_000_000_000,
        window: { type: 'Anchored', durationMs: 168 * HOUR_MS },
      },
    ]);
  });

  test('has one node per catalog model and one for all others, each with the account’s concurrency', () => {
    const compiled = compileTrees(world({ accounts: [max] }));
    expect(nodeNames(compiled, 'glm/max')).toEqual(['account', 'model:glm-5.3', 'model:glm-5.3-flash', 'model:other']);
    expect(nodeOf(compiled, 'glm/max', 'model:other')).toMatchObject({ parent: 'account', concurrency: 4 });
  });

  test('M1 learns from one call at a time up to ten when it says nothing about concurrency', () => {
    const compiled = compileTrees(world({ accounts: [account('bare')] }));
    const learnt = { concurrency: 10, adaptive: { min: 1, start: 1 }, rate: null };
    expect(nodeOf(compiled, 'glm/bare', 'account')).toMatchObject({ ...learnt, limits: [] });
    expect(nodeOf(compiled, 'glm/bare', 'model:other')).toMatchObject(learnt);
  });

  test('is slowed to 0.4 requests per second, burst 2, on a plan of generation Prompts', () => {
    const lite = account('lite', { plan: { name: 'Lite', generation: 'Prompts' } });
    const compiled = compileTrees(world({ accounts: [lite] }));
    expect(nodeOf(compiled, 'glm/lite', 'account')?.rate).toEqual({ intervalUs: 2_500_000, burst: 2 });
  });

  test('may lower a limit of its plan', () => {
    const lower = account('a', { plan: { name: 'Max', generation: 'Credits' }, limits: [limit('five-hour', '100.5')] });
    const compiled = compileTrees(world({ accounts: [lower] }));
    expect(nodeOf(compiled, 'glm/a', 'account')?.limits[0]).toEqual({
      name: 'five-hour',
      resource: 'Credits',
      amount: 100_500_000,
      window: { type: 'Anchored', durationMs: 5 * HOUR_MS },
    });
  });

  test('may not raise a limit of its plan', () => {
    const raised = account('a', { plan: { name: 'Max', generation: 'Credits' }, limits: [limit('weekly', 140_001)] });
    const compiled = compileTrees(world({ accounts: [raised] }));
    expect(compiled.accounts.get('glm/a')).toMatchObject({ tree: null, verdict: { reason: 'InvalidLimits' } });
  });

  test.each([
    ['an unknown plan', { plan: { name: 'Ultra', generation: 'Credits' } }, 'UnknownPlan'],
    ['an unknown catalog', { catalogRef: { name: 'mine' } }, 'UnknownCatalog'],
    ['a limit without a window and no plan', { limits: [limit('five-hour', 5)] }, 'InvalidLimits'],
  ])('with %s is not active and, never having been good, has no tree', (_, spec, reason) => {
    const compiled = compileTrees(world({ accounts: [account('a', spec)] }));
    expect(compiled.accounts.get('glm/a')).toMatchObject({ tree: null, verdict: { active: false, reason } });
  });

  test('whose catalog prices a model that it does not list says which, and keeps its last good limits', () => {
    const before = compileTrees(world({ accounts: [max] }));
    const prices = catalog.prices.map((row) => ({ ...row, model: 'glm-5.33' }));
    const catalogs = new Map([['default', { ...catalog, prices }]]);
    const after = compileTrees(world({ accounts: [max], catalogs, previous: inForce(before) }));
    expect(after.accounts.get('glm/max')?.verdict).toMatchObject({
      reason: 'UnknownModel',
      message: expect.stringContaining('glm-5.33') as string,
    });
    expect(inForce(after)).toEqual(inForce(before));
  });

  test('whose plan became unknown keeps its last good limits, under which quotas still change', () => {
    const child = quota('glm/team', { accountRef: { name: 'max' }, limits: [limit('five-hour', '40%')] });
    const before = compileTrees(world({ accounts: [max], quotas: [child] }));
    const broken = account('max', { plan: { name: 'Ultra', generation: 'Credits' } });
    const raised = quota('glm/team', { accountRef: { name: 'max' }, limits: [limit('five-hour', '50%')] });
    const after = compileTrees(world({ accounts: [broken], quotas: [raised], previous: inForce(before) }));
    expect(after.accounts.get('glm/max')?.verdict.reason).toBe('UnknownPlan');
    expect(nodeOf(after, 'glm/max', 'account')).toEqual(nodeOf(before, 'glm/max', 'account'));
    expect(nodeOf(after, 'glm/max', 'quota:glm/team')?.limits[0]?.amount).toBe(14_000_000_000);
  });

  test('can be held even while its spec is bad', () => {
    const before = compileTrees(world({ accounts: [max] }));
    const held = account('max', { plan: { name: 'Ultra', generation: 'Credits' }, stop: { policy: 'Hold' } });
    const after = compileTrees(world({ accounts: [held], previous: inForce(before) }));
    expect(nodeOf(after, 'glm/max', 'account')?.stops).toEqual(HELD);
  });
});

describe('credentials', () => {
  const reading = (origin: string | null, keyHash = 'k') => ({ ok: true as const, keyHash, origin });
  const compileWith = (
    spec: Record<string, unknown>,
    credentials: [string, unknown][],
    allowedOrigins: string[] = [],
  ) =>
    compileTrees(world({ accounts: [account('a', spec)], credentials: new Map(credentials) as never, allowedOrigins }));

  test.each([
    ['CredentialMissing', {}, []],
    ['CredentialInvalid', {}, [['glm/a-key', { ok: false, message: 'has no data.apiKey' }]]],
    ['CredentialInvalid', { region: 'Custom' }, [['glm/a-key', reading(null)]]],
    ['OriginNotAllowed', { region: 'Custom' }, [['glm/a-key', reading('https://evil.example')]]],
    ['OriginNotAllowed', { region: 'Custom' }, [['glm/a-key', reading('http://good.example')]]],
  ] as [string, Record<string, unknown>, [string, unknown][]][])(
    '%s: limits are compiled, no key is delivered',
    (reason, spec, found) => {
      const compiled = compileWith(spec, found, ['https://good.example', 'http://good.example']);
      expect(compiled.accounts.get('glm/a')).toMatchObject({ delivery: null, verdict: { active: false, reason } });
      expect(nodeNames(compiled, 'glm/a')).toContain('account');
    },
  );

  test('an allowed custom origin is delivered', () => {
    const found: [string, unknown][] = [['glm/a-key', reading('https://llm.good.example:8443')]];
    const compiled = compileWith({ region: 'Custom' }, found, ['https://*.good.example:8443']);
    expect(compiled.accounts.get('glm/a')?.delivery).toMatchObject({ origin: 'https://llm.good.example:8443' });
  });

  test('of two accounts with one key the younger grants nothing, and its quotas say why', () => {
    const old = account('old', {}, { creationTimestamp: '2026-01-01T00:00:00Z' });
    const young = account('young', {}, { creationTimestamp: '2026-02-01T00:00:00Z' });
    const child = quota('glm/q', { accountRef: { name: 'young' } });
    const credentials = new Map([
      ['glm/old-key', reading(null)],
      ['glm/young-key', reading(null)],
    ]);
    const compiled = compileTrees(world({ accounts: [young, old], quotas: [child], credentials }));
    expect(compiled.accounts.get('glm/old')?.verdict.active).toBe(true);
    expect(compiled.accounts.get('glm/young')).toMatchObject({
      delivery: null,
      verdict: { reason: 'DuplicateAccount' },
    });
    expect(nodeOf(compiled, 'glm/young', 'account')?.stops).toEqual([{ ...HELD[0], name: 'duplicate-account' }]);
    expect(verdictOf(compiled, 'glm/q')).toEqual(bad('DuplicateAccount'));
  });
});
