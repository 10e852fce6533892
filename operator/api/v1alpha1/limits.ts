/** Limits: what is counted, how much of it, in which window. */
import type { CalendarPeriod, Resource } from '../../../sidecar/engine/tree-terms.ts';
import { absoluteAmount, amountIn, resource, resourceOrNull, type AmountSpec } from './amounts.ts';
import { checked, listMap, mapped, object, oneOf, optional, withDefault, type Parser, type Place } from './parse.ts';
import { durationMs, label, timeZone } from './scalars.ts';

export type WindowSpec =
  | { readonly type: 'Anchored' | 'Sliding' | 'Fixed'; readonly durationMs: number }
  | { readonly type: 'Calendar'; readonly period: CalendarPeriod; readonly timeZone: string };

const YEAR_MS = 366 * 86_400_000;

interface RawWindow {
  readonly type: WindowSpec['type'];
  readonly duration: number | null;
  readonly period: CalendarPeriod | null;
  readonly timeZone: string | null;
}

const window: Parser<WindowSpec> = mapped(
  object<RawWindow>({
    type: oneOf(['Anchored', 'Sliding', 'Fixed', 'Calendar']),
    duration: optional(durationMs({ minMs: 1000, maxMs: YEAR_MS })),
    period: optional(oneOf(['Hour', 'Day', 'Week', 'Month', 'Year'])),
    timeZone: optional(timeZone()),
  }),
  ({ type, duration, period, timeZone: zone }, at) => {
    if (type === 'Calendar') {
      if (duration !== null) at.child('duration').fail('is not for Calendar windows; write period instead');
      if (period === null) return at.child('period').fail('is required with type: Calendar');
      return { type, period, timeZone: zone ?? 'UTC' };
    }
    if (period !== null) at.child('period').fail(`is only for Calendar windows; write duration instead`);
    if (zone !== null) at.child('timeZone').fail(`is only for Calendar windows; remove it`);
    if (duration === null) return at.child('duration').fail(`is required with type: ${type}`);
    return { type, durationMs: duration };
  },
);

/** One entry of `limits`. Resource and window are both there, or both taken from the limit of that name above. */
export interface LimitSpec {
  readonly name: string;
  readonly resource: Resource | null;
  readonly amount: AmountSpec;
  readonly window: WindowSpec | null;
  /** Kept free of the limit of that name above; null: nothing. */
  readonly guaranteed: AmountSpec | null;
}

type OwnLimit = Omit<LimitSpec, 'guaranteed'>;

const ownFields = {
  name: label(),
  resource: resourceOrNull,
  window: optional(window),
} as const;

/** A list-map of an account's limits by name: absolute amounts, and nothing above to keep a part of. */
export const accountLimits: Parser<readonly LimitSpec[]> = limits(
  mapped(object<OwnLimit>({ ...ownFields, amount: absoluteAmount }), (limit) => ({ ...limit, guaranteed: null })),
);

/** A list-map of a quota's limits by name; `amount` and `guaranteed` may be percentages. */
export function quotaLimits(amount: Parser<AmountSpec>): Parser<readonly LimitSpec[]> {
  return limits(
    checked(object<LimitSpec>({ ...ownFields, amount, guaranteed: optional(amount) }), (limit, at) => {
      if (limit.guaranteed !== null && limit.window?.type === 'Sliding')
        at.child('guaranteed').fail(
          'is not for Sliding windows; use Anchored, Fixed or Calendar, or remove guaranteed',
        );
    }),
  );
}

function limits(limit: Parser<LimitSpec>): Parser<readonly LimitSpec[]> {
  const whole = checked(limit, (value, at) => {
    if ((value.resource === null) !== (value.window === null))
      at.fail('resource and window belong together: write both, or none to take those of the same-named limit above');
    if (value.resource === null) return;
    checkAmount(value.resource, value.amount, at.child('amount'));
    if (value.guaranteed !== null) checkAmount(value.resource, value.guaranteed, at.child('guaranteed'));
  });
  return withDefault(listMap(whole, { max: 16, keyOf: (value) => value.name }), []);
}

function checkAmount(counted: Resource, amount: AmountSpec, at: Place): void {
  if (amount.kind !== 'Absolute') return;
  const parsed = amountIn(counted, amount.text, at.path);
  if (!parsed.ok) at.problems.push(...parsed.problems);
}

/** The most that one call may reserve of a resource, in the engine's integer unit. */
export interface CallLimit {
  readonly resource: Resource;
  readonly max: number;
}

interface RawCallLimit {
  readonly resource: Resource;
  readonly max: AmountSpec;
}

const callLimit: Parser<CallLimit> = mapped(
  object<RawCallLimit>({ resource, max: absoluteAmount }),
  ({ resource: counted, max }, at) => {
    const parsed = amountIn(counted, max.kind === 'Absolute' ? max.text : '', at.child('max').path);
    if (parsed.ok) return { resource: counted, max: parsed.value };
    at.problems.push(...parsed.problems);
    return { resource: counted, max: 0 };
  },
);

export const perCall: Parser<readonly CallLimit[]> = withDefault(
  listMap(callLimit, { max: 16, keyOf: (value) => value.resource }),
  [],
);
