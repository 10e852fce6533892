import { describe, expect, test } from 'vitest';
import { compileTrees } from '#operator/trees/compile.ts';
import type { CompileInput } from '#operator/trees/terms.ts';
import { validateTree } from '#sidecar/engine/tree-bounds.ts';
import { account, catalog, HOUR_MS, inForce, nodeOf, quota, world } from './world.ts';

const NOW_MS = Date.parse('2026-11-21T10:00:00Z');
const TEAM = 'quota:glm/team';
const peak = [{ weekdays: [1, 2, 3, 4, 5, 6, 7], fromMinute: 14 * 60, toMinute: 18 * 60 }];
const withPeak = new Map([['default', { ...catalog, schedule: { ...catalog.schedule, peak } }]]);

function compile(spec: object, parts: Partial<CompileInput> = {}) {
  const team = quota('glm/team', { accountRef: { name: 'max' }, ...spec });
  const leaf = quota('glm/leaf', { parentRef: { name: 'team' } });
  return compileTrees(
    world({ accounts: [account('max')], quotas: [team, leaf], catalogs: withPeak, nowMs: NOW_MS, ...parts }),
  );
}

const stopsOf = (compiled: ReturnType<typeof compile>) => nodeOf(compiled, 'glm/max', TEAM)?.stops ?? [];

describe('a person’s stop', () => {
  test('with until ends by itself, in the tree and in the verdict', () => {
    const until = '2026-11-21T12:00:00Z';
    const held = compile({ stop: { policy: 'Hold', until, reason: 'audit' } });
    expect(stopsOf(held)).toEqual([{ name: 'stop', fromMs: 0, untilMs: Date.parse(until), except: [] }]);
    expect(held.quotas.get('glm/team')?.verdict).toMatchObject({
      reason: 'Stopped',
      message: expect.stringMatching(/\(audit\) until 2026-11-21T12:00/) as unknown,
    });
    expect(held.quotas.get('glm/leaf')?.verdict.reason).toBe('ParentStopped');
    expect(held.staleAtMs).toBe(Date.parse(until));
    const over = compile({ stop: { policy: 'Hold', until } }, { nowMs: Date.parse(until) });
    expect(stopsOf(over)).toEqual(stopsOf(held));
    expect([...over.quotas.values()].map(({ verdict }) => verdict.reason)).toEqual(['QuotaActive', 'QuotaActive']);
  });

  test('that drains is told to the sidecars of all quotas below, while it lasts', () => {
    const until = '2026-11-21T12:00:00Z';
    const drained = (policy: string, nowMs = NOW_MS) =>
      [...compile({ stop: { policy, until } }, { nowMs }).quotas.values()].map(({ calls }) => calls?.isDrained);
    expect(drained('HoldAndDrain')).toEqual([true, true]);
    expect(drained('Hold')).toEqual([false, false]);
    expect(drained('HoldAndDrain', Date.parse(until))).toEqual([false, false]);
  });
});

describe('schedules', () => {
  test('by the clock become the stretches of their hours, without the classes they except', () => {
    const night = { name: 'night', from: '22:00', to: '06:00', timeZone: 'Europe/Paris', exceptClasses: ['System'] };
    const stops = stopsOf(compile({ schedules: [night] }));
    expect(stops.length).toBeGreaterThan(40);
    const next = stops.find(({ fromMs }) => fromMs > NOW_MS);
    const fromMs = Date.parse('2026-11-21T21:00:00Z');
    expect(next).toEqual({ name: 'night', fromMs, untilMs: fromMs + 8 * HOUR_MS, except: ['System'] });
  });

  test('share what a node may have, so that no number of them breaks a tree', () => {
    const schedules = Array.from({ length: 16 }, (_, hour) => ({
      name: `h${hour}`,
      from: `${10 + (hour % 9)}:00`,
      to: '09:30',
    }));
    const stops = stopsOf(compile({ schedules }));
    expect(new Set(stops.map(({ name }) => name)).size).toBe(16);
    expect(stops.length).toBeLessThanOrEqual(100);
    const peaks = Array.from({ length: 32 }, (_, row) => ({
      ...peak[0]!,
      fromMinute: row * 45,
      toMinute: row * 45 + 30,
    }));
    const dense = { ...catalog, schedule: { ...catalog.schedule, peak: peaks } };
    const vendors = schedules.map(({ name }) => ({ name, when: 'VendorPeak' }));
    const compiled = compile({ schedules: vendors }, { catalogs: new Map([['default', dense]]) });
    validateTree(compiled.accounts.get('glm/max')!.tree!);
  });

  test('by the vendor’s hours follow the catalog of the account', () => {
    const stops = stopsOf(compile({ schedules: [{ name: 'dear', when: 'VendorPeak' }] }));
    const fromMs = Date.parse('2026-11-22T06:00:00Z');
    expect(stops).toContainEqual({ name: 'dear', fromMs, untilMs: fromMs + 4 * HOUR_MS, except: [] });
    const cheap = stopsOf(compile({ schedules: [{ name: 'cheap', when: 'VendorOffPeak' }] }));
    expect(cheap).toContainEqual({ name: 'cheap', fromMs: fromMs - 20 * HOUR_MS, untilMs: fromMs, except: [] });
  });

  test('of an account hold its own node', () => {
    const accounts = [account('max', { schedules: [{ name: 'dear', when: 'VendorPeak' }] })];
    const names = nodeOf(compile({}, { accounts }), 'glm/max', 'account')?.stops.map(({ name }) => name);
    expect(new Set(names)).toEqual(new Set(['dear']));
  });

  test('leave the verdict alone: hours that come every day are no fault', () => {
    const now = { nowMs: Date.parse('2026-11-21T07:00:00Z') };
    const compiled = compile({ schedules: [{ name: 'dear', when: 'VendorPeak' }] }, now);
    expect(compiled.quotas.get('glm/team')?.verdict.active).toBe(true);
  });

  test('are the same whenever they are compiled, until the world is stale', () => {
    const schedules = [
      { name: 'night', from: '22:00', to: '06:00' },
      { name: 'dear', when: 'VendorPeak' },
    ];
    const first = compile({ schedules });
    const later = compile({ schedules }, { nowMs: first.staleAtMs! - 1 });
    expect([...inForce(later)]).toEqual([...inForce(first)]);
    const stale = compile({ schedules }, { nowMs: first.staleAtMs! });
    expect([...inForce(stale)]).not.toEqual([...inForce(first)]);
  });

  test('by the vendor’s hours keep the last ones known while the catalog is lost', () => {
    const schedules = [{ name: 'dear', when: 'VendorPeak' }];
    const before = compile({ schedules });
    const after = compile({ schedules }, { catalogs: new Map(), previous: inForce(before) });
    expect(stopsOf(after)).toEqual(stopsOf(before));
    expect(after.quotas.get('glm/team')?.verdict.reason).toBe('UnknownCatalog');
  });

  test('act even while the rest of the spec is bad', () => {
    const before = compile({ concurrency: { max: 2 } });
    const bad = { limits: [{ name: 'nothing', amount: '10%' }], schedules: [{ name: 'dear', when: 'VendorPeak' }] };
    const after = compile(bad, { previous: inForce(before) });
    expect(after.quotas.get('glm/team')?.verdict.reason).toBe('InvalidLimits');
    expect(nodeOf(after, 'glm/max', TEAM)).toMatchObject({ concurrency: 2 });
    expect(stopsOf(after).length).toBeGreaterThan(0);
  });
});
