/** When the vendor's peak hours are, and what a credit counts at a moment. */
import type { CatalogSchedule } from './terms.ts';

const MINUTES_PER_HOUR = 60;
const WEEKDAYS: Readonly<Record<string, number>> = { Mon: 1, Tue: 2, Wed: 3, Thu: 4, Fri: 5, Sat: 6, Sun: 7 };

/** Making a formatter costs 20 times what using it does; zones come from catalogs, so there are few. */
const formatters = new Map<string, Intl.DateTimeFormat>();

function formatterOf(timeZone: string): Intl.DateTimeFormat {
  const cached = formatters.get(timeZone);
  if (cached) return cached;
  const made = new Intl.DateTimeFormat('en-US', {
    timeZone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
  formatters.set(timeZone, made);
  return made;
}

/** Weekday (1 = Monday) and minute since midnight as a clock on a wall in `timeZone` shows them. */
export function wallClock(timeZone: string, atMs: number): { readonly weekday: number; readonly minute: number } {
  const parts = formatterOf(timeZone).formatToParts(atMs);
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
