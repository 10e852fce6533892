/** Starts of calendar periods, right across daylight-saving changes. The engine knows no calendar (rule N2). */
import { Temporal } from 'temporal-polyfill';
import type { CalendarPeriod } from '../../sidecar/engine/tree-terms.ts';
import { type Stretches, stretchesOf, type WeeklyHours } from './stretches.ts';

interface Boundaries {
  /** 400 starts of periods, ascending; the running period is among the first 100, so at least 300 lie ahead. */
  readonly boundariesMs: readonly number[];
  /** From then on another block is current. */
  readonly staleAtMs: number;
}

/**
 * Boundaries come in blocks that depend on the time only through the block it falls into: two processes that compile
 * at different moments get the same list, and a list changes rarely.
 */
export interface Calendar {
  boundaries(period: CalendarPeriod, timeZone: string, nowMs: number): Boundaries;
  /** When it is between these hours, in blocks too; about `wanted` stretches. */
  stretches(hours: WeeklyHours, wanted: number, nowMs: number): Stretches;
}

const COUNT = 400;
const BLOCK = 100;
/** Hours are counted from the start of every fourth local day, since a day may have 23 to 25 of them. */
const HOUR_BLOCK_DAYS = 4;
const EPOCH = Temporal.PlainDate.from('1970-01-01');
/** Weeks start on Mondays. */
const FIRST_MONDAY = Temporal.PlainDate.from('1970-01-05');

/** A calendar that remembers the blocks it made last. */
export function createCalendar(): Calendar {
  const made = new Map<string, Boundaries>();
  const known = new Map<string, Remembered>();
  return {
    stretches: (hours, wanted, nowMs) => {
      const key = JSON.stringify([hours, wanted]);
      const last = known.get(key);
      if (last && nowMs >= last.madeAtMs && nowMs < last.made.staleAtMs) return last.made;
      const fresh = stretchesOf(hours, wanted, nowMs);
      known.set(key, { made: fresh, madeAtMs: nowMs });
      return fresh;
    },
    boundaries: (period, timeZone, nowMs) => {
      const key = `${period} ${timeZone}`;
      const last = made.get(key);
      const first = last?.boundariesMs[0];
      if (last && first !== undefined && nowMs >= first && nowMs < last.staleAtMs) return last;
      const fresh = period === 'Hour' ? hours(timeZone, nowMs) : dates(period, timeZone, nowMs);
      made.set(key, fresh);
      return fresh;
    },
  };
}

/** Stretches made at one time are the same at any later one, until they are stale. */
interface Remembered {
  readonly made: Stretches;
  readonly madeAtMs: number;
}

function today(timeZone: string, nowMs: number): Temporal.PlainDate {
  return Temporal.Instant.fromEpochMilliseconds(nowMs).toZonedDateTimeISO(timeZone).toPlainDate();
}

function startOfDay(date: Temporal.PlainDate, timeZone: string): number {
  return date.toZonedDateTime({ timeZone }).epochMilliseconds;
}

const floorTo = (value: number, step: number): number => Math.floor(value / step) * step;

type DatePeriod = Exclude<CalendarPeriod, 'Hour'>;

/** Periods since a fixed origin in which `date` lies, and the first day of the period with a given number. */
const DATE_PERIODS: Readonly<
  Record<
    DatePeriod,
    {
      readonly numberOf: (date: Temporal.PlainDate) => number;
      readonly startOf: (number: number) => Temporal.PlainDate;
    }
  >
> = {
  Day: {
    numberOf: (date) => EPOCH.until(date, { largestUnit: 'day' }).days,
    startOf: (number) => EPOCH.add({ days: number }),
  },
  Week: {
    numberOf: (date) => Math.floor(FIRST_MONDAY.until(date, { largestUnit: 'day' }).days / 7),
    startOf: (number) => FIRST_MONDAY.add({ days: 7 * number }),
  },
  Month: {
    numberOf: (date) => (date.year - 1970) * 12 + date.month - 1,
    startOf: (number) => EPOCH.add({ months: number }),
  },
  Year: {
    numberOf: (date) => date.year - 1970,
    startOf: (number) => EPOCH.add({ years: number }),
  },
};

function dates(period: DatePeriod, timeZone: string, nowMs: number): Boundaries {
  const { numberOf, startOf } = DATE_PERIODS[period];
  const first = floorTo(numberOf(today(timeZone, nowMs)), BLOCK);
  const boundariesMs = Array.from({ length: COUNT }, (_, index) => startOfDay(startOf(first + index), timeZone));
  return { boundariesMs, staleAtMs: boundariesMs[BLOCK] ?? Infinity };
}

function hours(timeZone: string, nowMs: number): Boundaries {
  const { numberOf, startOf } = DATE_PERIODS.Day;
  const firstDay = floorTo(numberOf(today(timeZone, nowMs)), HOUR_BLOCK_DAYS);
  let hour = startOf(firstDay).toZonedDateTime({ timeZone });
  const boundariesMs: number[] = [];
  while (boundariesMs.length < COUNT) {
    boundariesMs.push(hour.epochMilliseconds);
    hour = nextHour(hour);
  }
  return { boundariesMs, staleAtMs: startOfDay(startOf(firstDay + HOUR_BLOCK_DAYS), timeZone) };
}

/** The next full hour on the wall; where clocks shift by half an hour it may come 30 or 90 minutes later. */
function nextHour(hour: Temporal.ZonedDateTime): Temporal.ZonedDateTime {
  const later = hour.add({ hours: 1 });
  if (later.minute === 0) return later;
  const floor = later.round({ smallestUnit: 'hour', roundingMode: 'floor' });
  const ahead = floor.epochMilliseconds > hour.epochMilliseconds;
  return ahead ? floor : later.round({ smallestUnit: 'hour', roundingMode: 'ceil' });
}
