import { describe, expect, test } from 'vitest';
import { compileTrees } from '#operator/trees/compile.ts';
import type { CompiledWorld } from '#operator/trees/terms.ts';
import { account, inForce, quota, world } from './world.ts';

const verdictOf = (compiled: CompiledWorld, id: string) => {
  const { active, reason } = compiled.quotas.get(id)!.verdict;
  return { active, reason };
};
const ACTIVE = { active: true, reason: 'QuotaActive' };
const bad = (reason: string) => ({ active: false, reason });
const limit = (name: string, amount: unknown, rest: object = {}) => ({ name, amount, ...rest });
const max = account('max', { plan: { name: 'Max', generation: 'Credits' }, concurrency: { max: 4 } });

describe('parents', () => {
  test('an unknown parent is said, and the quota is in no tree', () => {
    const compiled = compileTrees(world({ quotas: [quota('a/q', { parentRef: { name: 'gone' } })] }));
    expect(verdictOf(compiled, 'a/q')).toEqual(bad('ParentNotFound'));
    expect(compiled.quotas.get('a/q')).toMatchObject({ account: null, path: [] });
  });

  test('children are granted edge by edge, never transitively', () => {
    const open = account('open', { children: { from: 'All' } });
    const middle = quota('b/middle', { accountRef: { name: 'open', namespace: 'glm' } });
    const leaf = quota('c/leaf', { parentRef: { name: 'middle', namespace: 'b' } });
    const compiled = compileTrees(world({ accounts: [open], quotas: [middle, leaf] }));
    expect(verdictOf(compiled, 'b/middle')).toEqual(ACTIVE);
    expect(verdictOf(compiled, 'c/leaf')).toEqual(bad('ParentNotGranted'));
  });

  test('a grant by selector follows the labels of the asking namespace', () => {
    const open = account('open', {
      children: { from: 'Selector', selector: { matchExpressions: [{ key: 'team', operator: 'In', values: ['x'] }] } },
    });
    const of = (namespace: string) => quota(`${namespace}/q`, { accountRef: { name: 'open', namespace: 'glm' } });
    const compiled = compileTrees(
      world({ accounts: [open], quotas: [of('x'), of('y')], namespaces: new Map([['x', { team: 'x' }]]) }),
    );
    expect(verdictOf(compiled, 'x/q')).toEqual(ACTIVE);
    expect(verdictOf(compiled, 'y/q')).toEqual(bad('ParentNotGranted'));
  });

  test('every member of a ring is told; the rest of the tree works', () => {
    const ring = ['a', 'b', 'c'].map((name, index) =>
      quota(`glm/${name}`, { parentRef: { name: ['b', 'c', 'a'][index] } }),
    );
    const fine = quota('glm/fine', { accountRef: { name: 'max' } });
    const below = quota('glm/below', { parentRef: { name: 'a' } });
    const compiled = compileTrees(world({ accounts: [max], quotas: [...ring, fine, below] }));
    for (const name of ['a', 'b', 'c']) expect(verdictOf(compiled, `glm/${name}`)).toEqual(bad('CycleDetected'));
    expect(compiled.quotas.get('glm/b')?.verdict.message).toMatch(/glm\/a → glm\/b → glm\/c → glm\/a/);
    expect(verdictOf(compiled, 'glm/below')).toEqual(bad('ParentNotFound'));
    expect(verdictOf(compiled, 'glm/fine')).toEqual(ACTIVE);
  });

  test('a quota whose parent was deleted keeps its place, with the parent’s limits above it', () => {
    const team = quota('glm/team', { accountRef: { name: 'max' }, concurrency: { max: 2 } });
    const leaf = quota('glm/leaf', { parentRef: { name: 'team' }, limits: [limit('five-hour', '10%')] });
    const before = compileTrees(world({ accounts: [max], quotas: [team, leaf] }));
    const after = compileTrees(world({ accounts: [max], quotas: [leaf], previous: inForce(before) }));
    expect(verdictOf(after, 'glm/leaf')).toEqual(bad('ParentNotFound'));
    expect(after.accounts.get('glm/max')?.tree).toEqual(before.accounts.get('glm/max')?.tree);
    expect(after.quotas.get('glm/leaf')?.path).toEqual(['quota:glm/leaf', 'quota:glm/team', 'account']);
  });

  test('a ring closed by re-parenting leaves everyone where they were', () => {
    const a = quota('glm/a', { accountRef: { name: 'max' } });
    const b = quota('glm/b', { parentRef: { name: 'a' } });
    const before = compileTrees(world({ accounts: [max], quotas: [a, b] }));
    const turned = quota('glm/a', { parentRef: { name: 'b' } });
    const after = compileTrees(world({ accounts: [max], quotas: [turned, b], previous: inForce(before) }));
    expect(after.accounts.get('glm/max')?.tree).toEqual(before.accounts.get('glm/max')?.tree);
    expect(verdictOf(after, 'glm/a')).toEqual(bad('CycleDetected'));
  });

  test('a good quota that would hang below its own kept child gives way', () => {
    const a = quota('glm/a', { accountRef: { name: 'max' } });
    const b = quota('glm/b', { parentRef: { name: 'a' } });
    const before = compileTrees(world({ accounts: [max], quotas: [a, b] }));
    const turned = quota('glm/a', { parentRef: { name: 'b' } });
    const lost = quota('glm/b', { parentRef: { name: 'nowhere' } });
    const after = compileTrees(world({ accounts: [max], quotas: [turned, lost], previous: inForce(before) }));
    expect(verdictOf(after, 'glm/a')).toEqual(bad('CycleDetected'));
    expect(verdictOf(after, 'glm/b')).toEqual(bad('ParentNotFound'));
    expect(after.accounts.get('glm/max')?.tree).toEqual(before.accounts.get('glm/max')?.tree);
  });

  test('a chain longer than the engine walks is refused at the first node too deep', () => {
    const chain = Array.from({ length: 18 }, (_, index) =>
      quota(`glm/q${index}`, index === 0 ? { accountRef: { name: 'max' } } : { parentRef: { name: `q${index - 1}` } }),
    );
    const compiled = compileTrees(world({ accounts: [max], quotas: chain }));
    expect(verdictOf(compiled, 'glm/q14')).toEqual(ACTIVE);
    expect(verdictOf(compiled, 'glm/q15')).toEqual(bad('TooDeep'));
    expect(verdictOf(compiled, 'glm/q16')).toEqual(bad('ParentNotFound'));
  });

  test('a quota that moves down stays where it was if a kept quota under it would get too deep', () => {
    const chain = Array.from({ length: 14 }, (_, index) =>
      quota(`glm/q${index}`, index === 0 ? { accountRef: { name: 'max' } } : { parentRef: { name: `q${index - 1}` } }),
    );
    const mover = quota('glm/mover', { accountRef: { name: 'max' } });
    const child = quota('glm/child', { parentRef: { name: 'mover' } });
    const before = compileTrees(world({ accounts: [max], quotas: [...chain, mover, child] }));
    const down = quota('glm/mover', { parentRef: { name: 'q13' } });
    const broken = quota('glm/child', { parentRef: { name: 'mover' }, limits: [limit('none', '10%')] });
    const after = compileTrees(world({ accounts: [max], quotas: [...chain, down, broken], previous: inForce(before) }));
    expect(verdictOf(after, 'glm/mover')).toEqual(bad('TooDeep'));
    expect(after.accounts.get('glm/max')?.tree).toEqual(before.accounts.get('glm/max')?.tree);
  });

  test('a quota that moved to another account and then turns bad stays there, not where its old child was left', () => {
    const accounts = [max, account('a-first'), account('z-last')];
    for (const [from, to] of [
      ['a-first', 'z-last'],
      ['z-last', 'a-first'],
    ] as const) {
      const team = (name: string, more = {}) => quota('glm/team', { accountRef: { name }, ...more });
      const child = quota('glm/child', { parentRef: { name: 'team' } });
      const lost = quota('glm/child', { parentRef: { name: 'gone' } });
      const worse = { limits: [limit('none', '10%')] };
      let compiled = compileTrees(world({ accounts, quotas: [team(from), child] }));
      compiled = compileTrees(world({ accounts, quotas: [team(to), lost], previous: inForce(compiled) }));
      compiled = compileTrees(world({ accounts, quotas: [team(to, worse), lost], previous: inForce(compiled) }));
      expect(compiled.quotas.get('glm/team')?.account).toBe(`glm/${to}`);
      expect(compiled.quotas.get('glm/child')?.account).toBe(`glm/${from}`);
      expect(compiled.quotas.get('glm/child')?.path).toEqual(['quota:glm/child', 'quota:glm/team', 'account']);
    }
  });
});
