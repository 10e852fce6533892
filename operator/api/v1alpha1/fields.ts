/** Fields that accounts, quotas and pools share: references, grants, limits, concurrency, rate, stop. */
import type { CalendarPeriod, RateConfig, Resource } from '../../../sidecar/engine/terms.ts';
import { amountIn, resourceOrNull, type AmountSpec } from './amounts.ts';
import {
  checked,
  integer,
  list,
  listMap,
  mapOf,
  mapped,
  object,
  oneOf,
  optional,
  string,
  withDefault,
  type Parser,
} from './parse.ts';
import { decimal, durationMs, label, timeZone } from './scalars.ts';

/** The name of a Kubernetes object. */
const objectName: Parser<string> = string({
  min: 1,
  max: 253,
  pattern: /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/,
  hint: 'must be an object name: lower-case letters, digits, "-" and "."',
});

export interface ObjectRef {
  readonly name: string;
  /** Null: the namespace of the object that refers. */
  readonly namespace: string | null;
}

export const objectRef: Parser<ObjectRef> = object<ObjectRef>({ name: objectName, namespace: optional(label()) });

export interface LocalRef {
  readonly name: string;
}

export const localRef: Parser<LocalRef> = object<LocalRef>({ name: objectName });

export interface LabelSelector {
  readonly matchLabels: Readonly<Record<string, string>>;
  readonly matchExpressions: readonly {
    readonly key: string;
    readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
    readonly values: readonly string[];
  }[];
}

const labelSelector: Parser<LabelSelector> = object<LabelSelector>({
  matchLabels: withDefault(mapOf(string({ max: 63 }), { max: 16 }), {}),
  matchExpressions: withDefault(
    list(
      object<LabelSelector['matchExpressions'][number]>({
        key: string({ min: 1, max: 317 }),
        operator: oneOf(['In', 'NotIn', 'Exists', 'DoesNotExist']),
        values: withDefault(list(string({ max: 63 }), { max: 32 }), []),
      }),
      { max: 16 },
    ),
    [],
  ),
});

/** Which namespaces may use something: none, the owner's own, those a selector matches, all. */
export interface NamespaceGrant {
  readonly from: 'None' | 'Same' | 'Selector' | 'All';
  /** Not null exactly with `from: Selector`. */
  readonly selector: LabelSelector | null;
}

export const SAME_NAMESPACE: NamespaceGrant = { from: 'Same', selector: null };

export const grantFields = {
  from: withDefault(oneOf(['None', 'Same', 'Selector', 'All']), 'Same'),
  selector: optional(labelSelector),
} as const;

/** Holds a parser of something with a grant in it to the rule that binds its two fields. */
export function checkedGrant<T extends NamespaceGrant>(parser: Parser<T>): Parser<T> {
  return checked(parser, (grant, at) => {
    if (grant.from === 'Selector' && grant.selector === null)
      at.child('selector').fail('is required with from: Selector');
    if (grant.from !== 'Selector' && grant.selector !== null)
      at.child('selector').fail('is only read with from: Selector; remove it or set from: Selector');
  });
}

export const namespaceGrant: Parser<NamespaceGrant> = withDefault(
  checkedGrant(object<NamespaceGrant>(grantFields)),
  SAME_NAMESPACE,
);

export type WindowSpec =
  | { readonly type: 'Anchored' | 'Sliding'; readonly durationMs: number }
  | { readonly type: 'Calendar'; readonly period: CalendarPeriod; readonly timeZone: string };

const YEAR_MS = 366 * 86_400_000;

interface RawWindow {
  readonly type: 'Anchored' | 'Sliding' | 'Calendar';
  readonly duration: number | null;
  readonly period: CalendarPeriod | null;
  readonly timeZone: string | null;
}

const window: Parser<WindowSpec> = mapped(
  object<RawWindow>({
    type: oneOf(['Anchored', 'Sliding', 'Calendar']),
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
}

/** A list-map of limits by name; `amountParser` says which forms of amount are allowed. */
export function limits(amountParser: Parser<AmountSpec>): Parser<readonly LimitSpec[]> {
  const limit = checked(
    object<LimitSpec>({ name: label(), resource: resourceOrNull, amount: amountParser, window: optional(window) }),
    (value, at) => {
      if ((value.resource === null) !== (value.window === null))
        at.fail('resource and window belong together: write both, or none to take those of the same-named limit above');
      if (value.resource !== null && value.amount.kind === 'Absolute') {
        const parsed = amountIn(value.resource, value.amount.text, at.child('amount').path);
        if (!parsed.ok) at.problems.push(...parsed.problems);
      }
    },
  );
  return withDefault(listMap(limit, { max: 16, keyOf: (value) => value.name }), []);
}

interface RawConcurrency {
  readonly mode: 'Fixed';
  readonly max: number;
}

/** Calls in flight at once; null when the field is absent. */
export const concurrency: Parser<number | null> = optional(
  mapped(
    object<RawConcurrency>({ mode: withDefault(oneOf(['Fixed']), 'Fixed'), max: integer({ min: 1, max: 10_000 }) }),
    ({ max }) => max,
  ),
);

interface RawRate {
  readonly requestsPerSecond: number;
  readonly burst: number;
}

/** Null when the field is absent. The interval is rounded up: a rate is never exceeded. */
export const rate: Parser<RateConfig | null> = optional(
  mapped(
    object<RawRate>({
      requestsPerSecond: checked(decimal({ scale: 3, max: 10_000_000 }), (value, at) => {
        if (value === 0) at.fail('must be more than 0; to admit nothing set stop.policy: Hold');
      }),
      burst: withDefault(integer({ min: 1, max: 10_000 }), 1),
    }),
    ({ requestsPerSecond, burst }) => ({ intervalUs: intervalUs(requestsPerSecond), burst }),
  ),
);

function intervalUs(millirequestsPerSecond: number): number {
  return Math.ceil(1_000_000_000 / Math.max(1, millirequestsPerSecond));
}

interface RawStop {
  readonly policy: 'None' | 'Hold';
}

/** True when a person holds the object: no new grants. */
export const stopped: Parser<boolean> = withDefault(
  mapped(object<RawStop>({ policy: oneOf(['None', 'Hold']) }), ({ policy }) => policy === 'Hold'),
  false,
);
