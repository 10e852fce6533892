import { describe, expect, test } from 'vitest';
import { factorPpm, isPeak, wallClock } from '#sidecar/catalog/schedule.ts';
import type { CatalogSchedule } from '#sidecar/catalog/terms.ts';
import { defaultCatalog } from '#test/support/default-catalog.ts';

const vendor = defaultCatalog().schedule;
const at = (text: string): number => Date.parse(text);

describe('the vendor’s peak hours', () => {
  test.each([
    ['Friday 14:00 begins them', '2026-11-20T14:00:00+08:00', true],
    ['Friday 13:59:59 does not', '2026-11-20T13:59:59+08:00', false],
    ['Friday 17:59:59 is the last second', '2026-11-20T17:59:59+08:00', true],
    ['Friday 18:00 ends them', '2026-11-20T18:00:00+08:00', false],
    ['Saturday has none', '2026-11-21T15:00:00+08:00', false],
    ['Sunday has none', '2026-11-22T15:00:00+08:00', false],
    ['Monday 06:00 UTC is 14:00 there', '2026-11-23T06:00:00Z', true],
    ['Monday 10:00 UTC is 18:00 there', '2026-11-23T10:00:00Z', false],
  ])('%s', (_, text, peak) => {
    expect(isPeak(vendor, at(text))).toBe(peak);
    expect(factorPpm(vendor, 'glm-5.3', at(text))).toBe(peak ? 1_000_000 : 500_000);
  });

  test('a promotion overrides the clock while it lasts, its end excluded', () => {
    const monday = '2026-09-28T15:00:00+08:00';
    expect(isPeak(vendor, at(monday))).toBe(true);
    expect(factorPpm(vendor, 'glm-5.3', at(monday))).toBe(500_000);
    expect(factorPpm(vendor, 'glm-5.3', at('2026-09-24T15:00:00+08:00'))).toBe(1_000_000);
    expect(factorPpm(vendor, 'glm-5.3', at('2026-10-08T15:00:00+08:00'))).toBe(1_000_000);
  });
});

describe('promotions', () => {
  const day = (name: string, models: readonly string[], factor: number) => ({
    name,
    fromMs: at('2026-01-01T00:00:00Z'),
    untilMs: at('2026-01-02T00:00:00Z'),
    models,
    factorPpm: factor,
  });
  const schedule: CatalogSchedule = {
    timeZone: 'UTC',
    peak: [],
    peakFactorPpm: 1_000_000,
    offPeakFactorPpm: 800_000,
    promotions: [day('all', [], 400_000), day('flash', ['flash'], 0)],
  };
  const noon = at('2026-01-01T12:00:00Z');

  test('hold for the models they name, the later of two wins', () => {
    expect(factorPpm(schedule, 'big', noon)).toBe(400_000);
    expect(factorPpm(schedule, 'flash', noon)).toBe(0);
  });

  test('count from their first millisecond to before their last', () => {
    expect(factorPpm(schedule, 'big', at('2026-01-01T00:00:00Z'))).toBe(400_000);
    expect(factorPpm(schedule, 'big', at('2026-01-02T00:00:00Z') - 1)).toBe(400_000);
    expect(factorPpm(schedule, 'big', at('2026-01-02T00:00:00Z'))).toBe(800_000);
    expect(factorPpm(schedule, 'big', at('2026-01-01T00:00:00Z') - 1)).toBe(800_000);
  });
});

describe('zones with summer time', () => {
  const paris = (fromMinute: number, toMinute: number): CatalogSchedule => ({
    timeZone: 'Europe/Paris',
    peak: [{ weekdays: [7], fromMinute, toMinute }],
    peakFactorPpm: 1_000_000,
    offPeakFactorPpm: 500_000,
    promotions: [],
  });

  test('the hour that is skipped in spring is never peak', () => {
    const skipped = paris(120, 180);
    expect(isPeak(skipped, at('2026-03-29T00:59:59Z'))).toBe(false);
    expect(isPeak(skipped, at('2026-03-29T01:00:00Z'))).toBe(false);
  });

  test('the hour that comes twice in autumn is peak both times', () => {
    const doubled = paris(120, 180);
    expect(isPeak(doubled, at('2026-10-25T00:30:00Z'))).toBe(true);
    expect(isPeak(doubled, at('2026-10-25T01:30:00Z'))).toBe(true);
    expect(isPeak(doubled, at('2026-10-25T02:00:00Z'))).toBe(false);
  });

  test('the wall clock shows midnight as minute 0', () => {
    expect(wallClock('Asia/Shanghai', at('2026-11-22T16:00:00Z'))).toEqual({ weekday: 1, minute: 0 });
  });

  test('hours up to 24:00 reach the end of the day', () => {
    const evening = paris(1380, 1440);
    expect(isPeak(evening, at('2026-11-22T22:59:59Z'))).toBe(true);
    expect(isPeak(evening, at('2026-11-22T23:00:00Z'))).toBe(false);
  });
});
