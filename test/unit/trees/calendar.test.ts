import { describe, expect, test } from 'vitest';
import { createCalendar } from '#operator/trees/calendar.ts';

const at = (text: string): number => Date.parse(text);
const iso = (ms: number | undefined): string => new Date(ms!).toISOString();
const HOUR_MS = 3_600_000;

/** The running period and the next. */
function around(period: 'Hour' | 'Day' | 'Week' | 'Month' | 'Year', zone: string, now: string): [string, string] {
  const { boundariesMs } = createCalendar().boundaries(period, zone, at(now));
  const next = boundariesMs.findIndex((ms) => ms > at(now));
  return [iso(boundariesMs[next - 1]), iso(boundariesMs[next])];
}

describe('the running period', () => {
  test.each([
    ['Day', 'UTC', '2026-11-21T00:00:00Z', '2026-11-21T00:00:00.000Z', '2026-11-22T00:00:00.000Z'],
    ['Day', 'Asia/Shanghai', '2026-11-21T15:59:59Z', '2026-11-20T16:00:00.000Z', '2026-11-21T16:00:00.000Z'],
    ['Week', 'UTC', '2026-11-22T23:59:59Z', '2026-11-16T00:00:00.000Z', '2026-11-23T00:00:00.000Z'],
    ['Month', 'UTC', '2028-02-29T12:00:00Z', '2028-02-01T00:00:00.000Z', '2028-03-01T00:00:00.000Z'],
    ['Year', 'Europe/Paris', '2026-12-31T23:30:00Z', '2026-12-31T23:00:00.000Z', '2027-12-31T23:00:00.000Z'],
    ['Hour', 'Asia/Kolkata', '2026-11-21T10:00:00Z', '2026-11-21T09:30:00.000Z', '2026-11-21T10:30:00.000Z'],
    // Clocks go forward on 2026-03-29: a day of 23 hours. And back on 2026-10-25: one of 25.
    ['Day', 'Europe/Paris', '2026-03-29T12:00:00Z', '2026-03-28T23:00:00.000Z', '2026-03-29T22:00:00.000Z'],
    ['Day', 'Europe/Paris', '2026-10-25T12:00:00Z', '2026-10-24T22:00:00.000Z', '2026-10-25T23:00:00.000Z'],
    // Midnight itself does not exist: the day starts at one o'clock.
    ['Day', 'America/Asuncion', '2023-10-01T12:00:00Z', '2023-10-01T04:00:00.000Z', '2023-10-02T03:00:00.000Z'],
  ] as const)('%s in %s at %s starts at %s and ends at %s', (period, zone, now, start, end) => {
    expect(around(period, zone, now)).toEqual([start, end]);
  });
});

describe('a list of boundaries', () => {
  const periods = ['Hour', 'Day', 'Week', 'Month', 'Year'] as const;

  test.each(periods)('of %s has 400 ascending entries, begun already and going on for 299 more', (period) => {
    const now = at('2026-11-21T10:00:00Z');
    const { boundariesMs } = createCalendar().boundaries(period, 'America/New_York', now);
    expect(boundariesMs).toHaveLength(400);
    expect(boundariesMs.every((ms, index) => index === 0 || ms > boundariesMs[index - 1]!)).toBe(true);
    expect(boundariesMs[0]).toBeLessThanOrEqual(now);
    expect(boundariesMs.filter((ms) => ms > now).length).toBeGreaterThanOrEqual(299);
  });

  test.each(periods)('of %s is the same whenever it is asked for, until it is stale', (period) => {
    const now = at('2026-11-21T10:00:00Z');
    const first = createCalendar().boundaries(period, 'Europe/Paris', now);
    const later = createCalendar().boundaries(period, 'Europe/Paris', first.staleAtMs - 1);
    expect(later).toEqual(first);
    const stale = createCalendar().boundaries(period, 'Europe/Paris', first.staleAtMs);
    expect(stale.boundariesMs[0]).toBe(first.staleAtMs);
  });

  test('is remembered by the calendar while it is good, also when the clock is set back', () => {
    const calendar = createCalendar();
    const first = calendar.boundaries('Day', 'UTC', at('2026-11-21T10:00:00Z'));
    expect(calendar.boundaries('Day', 'UTC', at('2026-11-21T11:00:00Z'))).toBe(first);
    const before = calendar.boundaries('Day', 'UTC', first.boundariesMs[0]! - 1);
    expect(before.boundariesMs[0]).toBeLessThan(first.boundariesMs[0]!);
  });

  test('of hours keeps to full hours where clocks shift by thirty minutes', () => {
    const { boundariesMs } = createCalendar().boundaries('Hour', 'Australia/Lord_Howe', at('2026-04-04T12:00:00Z'));
    const minutes = boundariesMs.map((ms) =>
      new Intl.DateTimeFormat('en', { timeZone: 'Australia/Lord_Howe', minute: '2-digit' }).format(ms),
    );
    expect(new Set(minutes)).toEqual(new Set(['0']));
    const gaps = new Set(boundariesMs.slice(1).map((ms, index) => (ms - boundariesMs[index]!) / HOUR_MS));
    expect(gaps).toEqual(new Set([1, 1.5]));
  });
});
