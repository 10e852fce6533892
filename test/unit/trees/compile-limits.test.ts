import { describe, expect, test } from 'vitest';
import { compileTrees } from '#operator/trees/compile.ts';
import type { CompiledWorld } from '#operator/trees/terms.ts';
import { HELD } from '#test/support/engine.ts';
import { account, catalog, inForce, nodeNames, nodeOf, quota, world } from './world.ts';

const verdictOf = (compiled: CompiledWorld, id: string) => {
  const { active, reason } = compiled.quotas.get(id)!.verdict;
  return { active, reason };
};
const ACTIVE = { active: true, reason: 'QuotaActive' };
const bad = (reason: string) => ({ active: false, reason });
const limit = (name: string, amount: unknown, rest: object = {}) => ({ name, amount, ...rest });
const perMinute = { resource: 'Requests', window: { type: 'Sliding', duration: '1m' } };
const max = account('max', { plan: { name: 'Max', generation: 'Credits' }, concurrency: { max: 4 } });

describe('percentages and shared windows', () => {
  const team = quota('glm/team', {
    accountRef: { name: 'max' },
    limits: [limit('five-hour', '33%'), limit('per-minute', 10, perMinute)],
  });
  const agent = quota('glm/agent', {
    parentRef: { name: 'team' },
    limits: [limit('five-hour', '50%'), limit('per-minute', '25%'), limit('weekly', '1%')],
  });
  const compiled = compileTrees(world({ accounts: [max], quotas: [agent, team] }));

  test('a percentage is of the nearest ancestor’s limit of that name, rounded down', () => {
    const amounts = nodeOf(compiled, 'glm/max', 'quota:glm/agent')?.limits.map(({ name, amount }) => [name, amount]);
    expect(amounts).toEqual([
      ['five-hour', 4_620_000_000],
      ['per-minute', 2],
      ['weekly', 1_400_000_000],
    ]);
  });

  test('the topmost node with a name owns the window of all below', () => {
    const owners = nodeOf(compiled, 'glm/max', 'quota:glm/agent')?.limits.map(({ name, windowOwner }) => [
      name,
      windowOwner,
    ]);
    expect(owners).toEqual([
      ['five-hour', 'account'],
      ['per-minute', 'quota:glm/team'],
      ['weekly', 'account'],
    ]);
    expect(nodeOf(compiled, 'glm/max', 'quota:glm/team')?.limits[1]).not.toHaveProperty('windowOwner');
  });

  test('parents come before children', () => {
    expect(nodeNames(compiled, 'glm/max').slice(-2)).toEqual(['quota:glm/team', 'quota:glm/agent']);
  });

  test('the effective limit is the tightest on the path and names its node', () => {
    const effective = compiled.quotas.get('glm/agent')?.effective;
    expect(effective).toContainEqual({
      name: 'five-hour',
      resource: 'Credits',
      amount: '4620',
      window: 'Anchored 5h',
      node: 'quota:glm/agent',
    });
  });

  test.each([
    ['a percentage of nothing', limit('monthly', '10%', perMinute), /no limit of that name above/],
    ['no window and none to take', limit('monthly', 10), /write resource and window/],
    ['another resource under the same name', limit('five-hour', 10, perMinute), /counts Credits under this name/],
    [
      'another window under the same name',
      limit('five-hour', 10, { resource: 'Credits', window: { type: 'Sliding', duration: '5h' } }),
      /has the window Anchored 5h under this name, not Sliding 5h/,
    ],
    ['decimals of a resource that has none', limit('per-minute', '2.5', perMinute), /behind the point/],
    ['an amount beyond 2^53', limit('five-hour', '9007199254740993'), /at most 9000000000000000/],
  ])('%s is InvalidLimits', (_, entry, message) => {
    const parse = (): CompiledWorld =>
      compileTrees(
        world({ accounts: [max], quotas: [quota('glm/q', { accountRef: { name: 'max' }, limits: [entry] })] }),
      );
    // What the parser already refuses never reaches the compiler; the message is the same.
    let text: string;
    try {
      const { verdict } = parse().quotas.get('glm/q')!;
      expect(verdict.reason).toBe('InvalidLimits');
      text = verdict.message;
    } catch (error) {
      text = (error as Error).message;
    }
    expect(text).toMatch(message);
  });

  test('a limit made worse keeps its last good form and says so', () => {
    const worse = quota('glm/team', { accountRef: { name: 'max' }, limits: [limit('monthly', '10%')] });
    const after = compileTrees(world({ accounts: [max], quotas: [agent, worse], previous: inForce(compiled) }));
    expect(nodeOf(after, 'glm/max', 'quota:glm/team')).toEqual(nodeOf(compiled, 'glm/max', 'quota:glm/team'));
    expect(verdictOf(after, 'glm/team')).toEqual(bad('InvalidLimits'));
    expect(after.quotas.get('glm/team')?.verdict.message).toMatch(/last good limits stay in force/);
    expect(verdictOf(after, 'glm/agent')).toEqual(ACTIVE);
  });
});

describe('holds', () => {
  test('a hold is in the tree, on the quota and, as ParentStopped, on all below', () => {
    const team = quota('glm/team', { accountRef: { name: 'max' }, stop: { policy: 'Hold' } });
    const leaf = quota('glm/leaf', { parentRef: { name: 'team' } });
    const compiled = compileTrees(world({ accounts: [max], quotas: [team, leaf] }));
    expect(nodeOf(compiled, 'glm/max', 'quota:glm/team')?.stops).toEqual(HELD);
    expect(verdictOf(compiled, 'glm/team')).toEqual(bad('Stopped'));
    expect(compiled.quotas.get('glm/leaf')?.verdict).toMatchObject({
      reason: 'ParentStopped',
      blockedBy: 'quota:glm/team',
    });
  });
});

describe('the whole', () => {
  test('children given more than there is are reported on the parent, and nothing else changes', () => {
    const of = (name: string, percent: string) =>
      quota(`glm/${name}`, {
        accountRef: { name: 'max' },
        limits: [limit('five-hour', percent)],
        concurrency: { max: 3 },
      });
    const compiled = compileTrees(world({ accounts: [max], quotas: [of('a', '60%'), of('b', '60%')] }));
    const { overcommitted, verdict } = compiled.accounts.get('glm/max')!;
    expect(overcommitted).toMatch(/limit five-hour 33600 of 28000, concurrency 6 of 4/);
    expect(verdict.active).toBe(true);
  });

  test('an object that does not parse keeps its node', () => {
    const team = quota('glm/team', { accountRef: { name: 'max' }, concurrency: { max: 2 } });
    const before = compileTrees(world({ accounts: [max], quotas: [team] }));
    const invalid = [
      {
        kind: 'GLMQuota' as const,
        namespace: 'glm',
        name: 'team',
        uid: 'u',
        problems: [{ path: 'spec', message: 'no' }],
      },
    ];
    const after = compileTrees(world({ accounts: [max], invalid, previous: inForce(before) }));
    expect(after.accounts.get('glm/max')?.tree).toEqual(before.accounts.get('glm/max')?.tree);
    expect(after.quotas.get('glm/team')).toMatchObject({ account: 'glm/max', verdict: { message: /spec: no/ } });
  });

  test('a catalog that lost a model loses its node', () => {
    const smaller = { ...catalog, models: catalog.models.slice(0, 1) };
    const compiled = compileTrees(world({ accounts: [max], catalogs: new Map([['default', smaller]]) }));
    expect(nodeNames(compiled, 'glm/max')).toEqual(['account', 'model:glm-5.3', 'model:other']);
  });
});
