/** When a node is held: a person's stop and the schedules as times, which the engine compares with its own clock. */
import { STOP_NAME, type ScheduleSpec, type StopSpec } from '../api/v1alpha1/stops.ts';
import type { CatalogSchedule } from '../../sidecar/catalog/terms.ts';
import type { NodeConfig, StopConfig } from '../../sidecar/engine/tree-terms.ts';
import type { Moment } from './moment.ts';
import type { WeeklyHours } from './stretches.ts';

export interface HeldSpec {
  readonly stop: StopSpec | null;
  readonly schedules: readonly ScheduleSpec[];
}

export interface StopContext {
  readonly moment: Moment;
  /** Of the account's catalog; null: there is none to be had. */
  readonly vendor: CatalogSchedule | null;
  /** Where the vendor's hours are not known, schedules by them stay as they were. */
  readonly previous: readonly StopConfig[];
}

const EVERY_DAY = [1, 2, 3, 4, 5, 6, 7];

/** Every call looks at the stops of its nodes: all schedules of one share this many stretches. */
const STRETCHES = 64;
/** What the engine takes; only a catalog with dozens of peaks a day comes near. */
const MAX_STOPS = 256;

/** A person's stop first, then the schedules in their order. */
export function compileStops({ stop, schedules }: HeldSpec, context: StopContext): readonly StopConfig[] {
  const wanted = Math.max(1, Math.floor(STRETCHES / schedules.length));
  const held = stop === null ? [] : [stopConfig(STOP_NAME, stop.untilMs)];
  return [...held, ...schedules.flatMap(scheduled)].slice(0, MAX_STOPS);

  function scheduled({ name, hours, exceptClasses }: ScheduleSpec): readonly StopConfig[] {
    const weekly = weeklyHours(hours, context.vendor);
    if (weekly === null) return context.previous.filter((each) => each.name === name);
    return context.moment.stretches(weekly, wanted).map((stretch) => ({ name, ...stretch, except: exceptClasses }));
  }
}

/** A stop of all classes that began before everything. */
export function stopConfig(name: string, untilMs: number | null): StopConfig {
  return { name, fromMs: 0, untilMs, except: [] };
}

/** Whether a schedule asks for hours of the vendor's. */
export function needsVendor({ schedules }: Pick<HeldSpec, 'schedules'>): boolean {
  return schedules.some(({ hours }) => hours.kind !== 'Daily');
}

function weeklyHours(hours: ScheduleSpec['hours'], vendor: CatalogSchedule | null): WeeklyHours | null {
  if (hours.kind === 'Daily') {
    const { fromMinute, toMinute, timeZone } = hours;
    return { timeZone, rows: [{ weekdays: EVERY_DAY, fromMinute, toMinute }], isInverted: false };
  }
  if (vendor === null) return null;
  return { timeZone: vendor.timeZone, rows: vendor.peak, isInverted: hours.kind === 'VendorOffPeak' };
}

/** Whether a person holds the node at this moment. */
export function isHeld({ stops }: Pick<NodeConfig, 'stops'>, moment: Moment): boolean {
  return stops.some(({ name, untilMs }) => name === STOP_NAME && (untilMs === null || moment.isAhead(untilMs)));
}

/** Whether the calls below are to be ended at this moment. */
export function isDrained(stop: StopSpec | null, moment: Moment): boolean {
  return stop?.policy === 'HoldAndDrain' && (stop.untilMs === null || moment.isAhead(stop.untilMs));
}
