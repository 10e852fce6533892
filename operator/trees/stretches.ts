/** Hours of the day in a time zone → stretches of time, right across daylight-saving changes. */
import { Temporal } from 'temporal-polyfill';

/** Which hours of a week. */
export interface WeeklyHours {
  readonly timeZone: string;
  /** 1 = Monday … 7 = Sunday; minutes since midnight. A row that ends before it begins goes on into the next day. */
  readonly rows: readonly {
    readonly weekdays: readonly number[];
    readonly fromMinute: number;
    readonly toMinute: number;
  }[];
  /** The hours outside the rows are meant. */
  readonly isInverted: boolean;
}

/** From a time until another one (null: for ever), the end not included. */
export interface Stretch {
  readonly fromMs: number;
  readonly untilMs: number | null;
}

export interface Stretches {
  /** About as many as were asked for, ascending, apart from one another. The first may have ended. */
  readonly stretches: readonly Stretch[];
  /** From then on another block is current; all stretches that begin before are there. */
  readonly staleAtMs: number;
}

const MINUTES_A_DAY = 1440;
/** So many days are looked at, beginning with the day before the block: its night may reach into it. */
const HORIZON_DAYS = 65;
const LONGEST_BLOCK_DAYS = 16;
const EPOCH = Temporal.PlainDate.from('1970-01-01');

/**
 * The stretches come in blocks of days, as calendar periods do: whoever compiles within a block gets the same ones. A
 * block is short enough that `wanted` stretches usually outlast it.
 */
export function stretchesOf(hours: WeeklyHours, wanted: number, nowMs: number): Stretches {
  const { timeZone, rows, isInverted } = hours;
  if (rows.length === 0) {
    return { stretches: isInverted ? [{ fromMs: 0, untilMs: null }] : [], staleAtMs: Number.POSITIVE_INFINITY };
  }
  const today = Temporal.Instant.fromEpochMilliseconds(nowMs).toZonedDateTimeISO(timeZone).toPlainDate();
  const dayNumber = EPOCH.until(today, { largestUnit: 'day' }).days;
  const blockDays = Math.max(1, Math.min(LONGEST_BLOCK_DAYS, Math.floor(wanted / 2 / rows.length)));
  const first = EPOCH.add({ days: dayNumber - modulo(dayNumber, blockDays) });
  const from = first.subtract({ days: 1 });
  const days = Array.from({ length: HORIZON_DAYS }, (_, index) => from.add({ days: index }));
  const inside = merged(days.flatMap((day) => stretchesOfDay(day, hours)));
  const horizon = { fromMs: at(from, 0, timeZone), untilMs: at(from.add({ days: HORIZON_DAYS }), 0, timeZone) };
  const beginsMs = at(first, 0, timeZone);
  const staleAtMs = at(first.add({ days: blockDays }), 0, timeZone);
  const all = (isInverted ? gaps(inside, horizon) : inside).filter(({ untilMs }) => untilMs > beginsMs);
  return { stretches: all.filter(({ fromMs }, index) => index < wanted || fromMs < staleAtMs), staleAtMs };
}

type Closed = { readonly fromMs: number; readonly untilMs: number };

function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}

function at(day: Temporal.PlainDate, minute: number, timeZone: string): number {
  if (minute >= MINUTES_A_DAY) return at(day.add({ days: 1 }), minute - MINUTES_A_DAY, timeZone);
  if (minute === 0) return day.toZonedDateTime({ timeZone }).epochMilliseconds;
  const plainTime = Temporal.PlainTime.from({ hour: Math.floor(minute / 60), minute: minute % 60 });
  return day.toZonedDateTime({ timeZone, plainTime }).epochMilliseconds;
}

function stretchesOfDay(day: Temporal.PlainDate, { rows, timeZone }: WeeklyHours): Closed[] {
  return rows.flatMap(({ weekdays, fromMinute, toMinute }) => {
    if (!weekdays.includes(day.dayOfWeek)) return [];
    const end = toMinute > fromMinute ? toMinute : toMinute + MINUTES_A_DAY;
    const stretch = { fromMs: at(day, fromMinute, timeZone), untilMs: at(day, end, timeZone) };
    // Hours that clocks jump over on this day are none.
    return stretch.untilMs > stretch.fromMs ? [stretch] : [];
  });
}

function merged(stretches: readonly Closed[]): readonly Closed[] {
  const out: Closed[] = [];
  for (const next of stretches.toSorted((a, b) => a.fromMs - b.fromMs || a.untilMs - b.untilMs)) {
    const last = out.at(-1);
    if (last === undefined || next.fromMs > last.untilMs) out.push(next);
    else if (next.untilMs > last.untilMs) out[out.length - 1] = { fromMs: last.fromMs, untilMs: next.untilMs };
  }
  return out;
}

function gaps(inside: readonly Closed[], horizon: Closed): readonly Closed[] {
  const edges = [...inside, { fromMs: horizon.untilMs, untilMs: horizon.untilMs }];
  let fromMs = horizon.fromMs;
  return edges.flatMap((next) => {
    const gap = { fromMs, untilMs: next.fromMs };
    fromMs = Math.max(fromMs, next.untilMs);
    return gap.untilMs > gap.fromMs ? [gap] : [];
  });
}
