/** When the vendor's peak hours are, and what a credit counts at a moment. */
import type { CatalogSchedule } from './terms.ts';

const MINUTES_PER_HOUR = 60;
const WEEKDAYS: Readonly<Record<string, number>> = { Mon: 1, Tue: 2, Wed: 3, Thu: 4, Fri: 5, Sat: 6, Sun: 7 };

const MINUTE_MS = 60_000;

export interface WallClock {
  /** 1 = Monday … 7 = Sunday. */
  readonly weekday: number;
  /** Since midnight. */
  readonly minute: number;
}

interface Zone {
  readonly formatter: Intl.DateTimeFormat;
  /** Minutes since the Unix epoch of `wall`: asking Intl costs more than a whole call may, and minutes repeat. */
  askedMinute: number;
  wall: WallClock;
}

/** Zones come from catalogs, so there are few. */
const zones = new Map<string, Zone>();

function zoneOf(timeZone: string): Zone {
  const known = zones.get(timeZone);
  if (known) return known;
  const formatter = new Intl.DateTimeFormat('en-US', {
    timeZone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
  const zone = { formatter, askedMinute: Number.NaN, wall: { weekday: 0, minute: 0 } };
  zones.set(timeZone, zone);
  return zone;
}

/** What a clock on a wall in `timeZone` shows at `atMs`. */
export function wallClock(timeZone: string, atMs: number): WallClock {
  const zone = zoneOf(timeZone);
  const asked = Math.floor(atMs / MINUTE_MS);
  if (zone.askedMinute !== asked) {
    zone.wall = read(zone.formatter, atMs);
    zone.askedMinute = asked;
  }
  return zone.wall;
}

function read(formatter: Intl.DateTimeFormat, atMs: number): WallClock {
  const parts = formatter.formatToParts(atMs);
  const part = (type: string): string => parts.find((each) => each.type === type)?.value ?? '';
  return {
    weekday: WEEKDAYS[part('weekday')] ?? 0,
    minute: Number(part('hour')) * MINUTES_PER_HOUR + Number(part('minute')),
  };
}

/** Whether `atMs` (milliseconds since the Unix epoch) falls into the schedule's peak hours; promotions do not matter. */
export function isPeak(schedule: CatalogSchedule, atMs: number): boolean {
  if (schedule.peak.length === 0) return false;
  const { weekday, minute } = wallClock(schedule.timeZone, atMs);
  return schedule.peak.some(
    (hours) => hours.weekdays.includes(weekday) && minute >= hours.fromMinute && minute < hours.toMinute,
  );
}

/**
 * Parts per million of the peak rate at which `model` (routed name) is counted at `atMs`. The last promotion of the
 * list that is running (its end is exclusive) and covers the model overrides the clock.
 */
export function factorPpm(schedule: CatalogSchedule, model: string, atMs: number): number {
  const promotion = schedule.promotions.findLast(
    ({ fromMs, untilMs, models }) =>
      fromMs <= atMs && atMs < untilMs && (models.length === 0 || models.includes(model)),
  );
  if (promotion) return promotion.factorPpm;
  return isPeak(schedule, atMs) ? schedule.peakFactorPpm : schedule.offPeakFactorPpm;
}
