/** Holding a node: by a person (`stop`) or by the clock (`schedules`). */
import { PRIORITY_CLASSES, type PriorityClass } from '../../../sidecar/engine/tree-terms.ts';
import { checked, list, listMap, mapped, object, oneOf, optional, string, withDefault, type Parser } from './parse.ts';
import { instantMs, label, minuteOfDay, timeZone } from './scalars.ts';

/** A person's stop; a spec without one has null. */
export interface StopSpec {
  readonly policy: 'Hold' | 'HoldAndDrain';
  /** Null: until a person takes it away. */
  readonly untilMs: number | null;
  /** For other people. */
  readonly reason: string | null;
}

interface RawStop {
  readonly policy: 'None' | StopSpec['policy'];
  readonly until: number | null;
  readonly reason: string | null;
}

/** Null: nobody holds the object. */
export const stop: Parser<StopSpec | null> = withDefault<StopSpec | null>(
  mapped(
    object<RawStop>({
      policy: oneOf(['None', 'Hold', 'HoldAndDrain']),
      until: optional(instantMs()),
      reason: optional(string({ min: 1, max: 256 })),
    }),
    ({ policy, until, reason }, at) => {
      if (policy !== 'None') return { policy, untilMs: until, reason };
      if (until !== null || reason !== null)
        at.fail('until and reason go with a hold; remove them or set policy: Hold');
      return null;
    },
  ),
  null,
);

export interface ScheduleSpec {
  readonly name: string;
  readonly hours:
    /** Every day; over midnight when `toMinute` is not after `fromMinute`. */
    | { readonly kind: 'Daily'; readonly fromMinute: number; readonly toMinute: number; readonly timeZone: string }
    /** As the catalog's peak hours are, or are not. */
    | { readonly kind: 'VendorPeak' | 'VendorOffPeak' };
  /** Classes that go on. */
  readonly exceptClasses: readonly PriorityClass[];
}

interface RawSchedule {
  readonly name: string;
  readonly from: number | null;
  readonly to: number | null;
  readonly timeZone: string | null;
  readonly when: 'VendorPeak' | 'VendorOffPeak' | null;
  readonly stop: 'Hold';
  readonly exceptClasses: readonly PriorityClass[];
}

/** The name under which a person's stop is reported. */
export const STOP_NAME = 'stop';

const scheduleName: Parser<string> = checked(label(), (name, at) => {
  if (name === STOP_NAME) at.fail(`${STOP_NAME} is what a person's spec.stop is called; choose another name`);
});

const schedule: Parser<ScheduleSpec> = mapped(
  object<RawSchedule>({
    name: scheduleName,
    from: optional(minuteOfDay),
    to: optional(minuteOfDay),
    timeZone: optional(timeZone()),
    when: optional(oneOf(['VendorPeak', 'VendorOffPeak'])),
    stop: withDefault(oneOf(['Hold']), 'Hold'),
    exceptClasses: withDefault(list(oneOf(PRIORITY_CLASSES), { max: 3 }), []),
  }),
  ({ name, from, to, timeZone: zone, when, exceptClasses }, at) => {
    if (when !== null) {
      if (from !== null || to !== null || zone !== null)
        at.fail('write either when, or from and to: the vendor’s hours come from the catalog');
      return { name, hours: { kind: when }, exceptClasses };
    }
    if (from === null || to === null) return at.fail('needs from and to (times of day), or when');
    if (from === to) return at.child('to').fail('must differ from from; to hold all day use spec.stop');
    const hours = { kind: 'Daily', fromMinute: from, toMinute: to, timeZone: zone ?? 'UTC' } as const;
    return { name, hours, exceptClasses };
  },
);

export const schedules: Parser<readonly ScheduleSpec[]> = withDefault(
  listMap(schedule, { max: 16, keyOf: ({ name }) => name }),
  [],
);
