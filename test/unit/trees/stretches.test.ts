import { describe, expect, test } from 'vitest';
import { createCalendar } from '#operator/trees/calendar.ts';
import { isPeak } from '#sidecar/catalog/schedule.ts';
import { stretchesOf as compileStretches, type WeeklyHours } from '#operator/trees/stretches.ts';

const stretchesOf = (weekly: WeeklyHours, nowMs: number) => compileStretches(weekly, 64, nowMs);
const at = (text: string): number => Date.parse(text);
const iso = (ms: number | null | undefined): string | null => (ms === null ? null : new Date(ms!).toISOString());
const EVERY_DAY = [1, 2, 3, 4, 5, 6, 7];

function hours(timeZone: string, fromMinute: number, toMinute: number, weekdays = EVERY_DAY): WeeklyHours {
  return { timeZone, rows: [{ weekdays, fromMinute, toMinute }], isInverted: false };
}

/** The stretch that runs at a time or, when none does, the next one. */
function around(weekly: WeeklyHours, now: string): [string | null, string | null] {
  const { stretches } = stretchesOf(weekly, at(now));
  const found = stretches.find(({ untilMs }) => untilMs === null || untilMs > at(now));
  return [iso(found?.fromMs), iso(found?.untilMs)];
}

const NIGHT = hours('Europe/Paris', 22 * 60, 6 * 60);
const PEAK = hours('Asia/Shanghai', 14 * 60, 18 * 60, [1, 2, 3, 4, 5]);

describe('a stretch', () => {
  test.each([
    ['an evening', NIGHT, '2026-11-21T21:30:00Z', '2026-11-21T21:00:00.000Z', '2026-11-22T05:00:00.000Z'],
    ['the night after midnight', NIGHT, '2026-11-22T02:00:00Z', '2026-11-21T21:00:00.000Z', '2026-11-22T05:00:00.000Z'],
    ['a day', NIGHT, '2026-11-22T12:00:00Z', '2026-11-22T21:00:00.000Z', '2026-11-23T05:00:00.000Z'],
    // Clocks go back in this night: it has nine hours. And forward in the other: seven.
    ['a long night', NIGHT, '2026-10-24T23:00:00Z', '2026-10-24T20:00:00.000Z', '2026-10-25T05:00:00.000Z'],
    ['a short night', NIGHT, '2026-03-28T23:00:00Z', '2026-03-28T21:00:00.000Z', '2026-03-29T04:00:00.000Z'],
    ['a Friday', PEAK, '2026-11-20T07:00:00Z', '2026-11-20T06:00:00.000Z', '2026-11-20T10:00:00.000Z'],
    ['a weekend', PEAK, '2026-11-21T07:00:00Z', '2026-11-23T06:00:00.000Z', '2026-11-23T10:00:00.000Z'],
  ])('of %s', (_, weekly, now, from, until) => {
    expect(around(weekly, now)).toEqual([from, until]);
  });

  test('until 24:00 ends with the day', () => {
    expect(around(hours('UTC', 22 * 60, 1440), '2026-11-21T23:00:00Z')).toEqual([
      '2026-11-21T22:00:00.000Z',
      '2026-11-22T00:00:00.000Z',
    ]);
  });

  test('outside the hours is all time between them, weekends included', () => {
    expect(around({ ...PEAK, isInverted: true }, '2026-11-21T07:00:00Z')).toEqual([
      '2026-11-20T10:00:00.000Z',
      '2026-11-23T06:00:00.000Z',
    ]);
  });

  test('rows that touch or overlap are one', () => {
    const rows = [
      { weekdays: [1], fromMinute: 600, toMinute: 720 },
      { weekdays: [1], fromMinute: 700, toMinute: 800 },
      { weekdays: [1], fromMinute: 800, toMinute: 900 },
    ];
    expect(around({ timeZone: 'UTC', rows, isInverted: false }, '2026-11-23T11:00:00Z')).toEqual([
      '2026-11-23T10:00:00.000Z',
      '2026-11-23T15:00:00.000Z',
    ]);
  });

  test('without any hours there is none, and outside them is always', () => {
    const none = { timeZone: 'UTC', rows: [], isInverted: false };
    expect(stretchesOf(none, 0).stretches).toEqual([]);
    expect(stretchesOf({ ...none, isInverted: true }, 0).stretches).toEqual([{ fromMs: 0, untilMs: null }]);
  });
});

describe('a block of stretches', () => {
  const busy: WeeklyHours = {
    timeZone: 'UTC',
    rows: Array.from({ length: 32 }, (_, row) => ({
      weekdays: EVERY_DAY,
      fromMinute: row * 45,
      toMinute: row * 45 + 30,
    })),
    isInverted: false,
  };
  const kinds: [string, WeeklyHours][] = [
    ['nights', NIGHT],
    ['peaks', PEAK],
    ['off-peaks', { ...PEAK, isInverted: true }],
    ['thirty-two stretches a day', busy],
    ['their gaps', { ...busy, isInverted: true }],
  ];

  test.each(kinds)('of %s is the same whenever it is asked for, until it is stale', (_, weekly) => {
    const first = stretchesOf(weekly, at('2026-11-21T10:00:00Z'));
    expect(stretchesOf(weekly, first.staleAtMs - 1)).toEqual(first);
    expect(stretchesOf(weekly, first.staleAtMs)).not.toEqual(first);
  });

  test.each(kinds)('of %s ascends and does not touch itself', (_, weekly) => {
    const { stretches } = stretchesOf(weekly, at('2026-11-21T10:00:00Z'));
    expect(stretches.length).toBeLessThanOrEqual(100);
    expect(stretches.every(({ fromMs, untilMs }) => untilMs! > fromMs)).toBe(true);
    expect(stretches.every(({ fromMs }, index) => index === 0 || fromMs > stretches[index - 1]!.untilMs!)).toBe(true);
  });

  test.each(kinds.slice(1))('of %s says of every quarter of an hour what the clock on the wall says', (_, weekly) => {
    const now = at('2026-11-21T10:00:00Z');
    const { stretches, staleAtMs } = stretchesOf(weekly, now);
    const schedule = { ...weekly, peak: weekly.rows, peakFactorPpm: 0, offPeakFactorPpm: 0, promotions: [] };
    const wrong = [];
    for (let ms = now; ms < staleAtMs; ms += 900_000) {
      const isInside = stretches.some(({ fromMs, untilMs }) => fromMs <= ms && ms < untilMs!);
      if (isInside !== (isPeak(schedule, ms) !== weekly.isInverted)) wrong.push(iso(ms));
    }
    expect(wrong).toEqual([]);
  });

  test.each([1, 2, 4, 12])('of %i wanted stretches is shorter, and complete all the same', (wanted) => {
    const now = at('2026-11-21T10:00:00Z');
    const { stretches, staleAtMs } = compileStretches(NIGHT, wanted, now);
    expect(stretches.length).toBeLessThanOrEqual(wanted + 2);
    expect(stretches.at(-1)!.untilMs).toBeGreaterThan(staleAtMs);
    const nights = stretchesOf(NIGHT, now).stretches.filter(
      ({ fromMs, untilMs }) => untilMs! > now && fromMs < staleAtMs,
    );
    expect(stretches).toEqual(expect.arrayContaining(nights));
  });

  test('begins with the night that began before it', () => {
    const { staleAtMs } = stretchesOf(NIGHT, at('2026-11-21T10:00:00Z'));
    const [first] = stretchesOf(NIGHT, staleAtMs).stretches;
    expect([iso(first?.fromMs), iso(first?.untilMs)]).toEqual([
      iso(staleAtMs - 2 * 3_600_000),
      iso(staleAtMs + 6 * 3_600_000),
    ]);
  });

  test('is remembered by the calendar while it is good', () => {
    const calendar = createCalendar();
    const first = calendar.stretches(NIGHT, 64, at('2026-11-21T10:00:00Z'));
    expect(calendar.stretches(NIGHT, 64, at('2026-11-21T11:00:00Z'))).toBe(first);
    expect(calendar.stretches(NIGHT, 64, first.staleAtMs)).not.toBe(first);
    expect(calendar.stretches(NIGHT, 64, at('2026-11-01T10:00:00Z')).stretches[0]!.fromMs).toBeLessThan(
      first.stretches[0]!.fromMs,
    );
  });
});
