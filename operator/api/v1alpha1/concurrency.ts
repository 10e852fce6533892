/** Calls in flight at once and calls a second. */
import type { RateConfig } from '../../../sidecar/engine/tree-terms.ts';
import { checked, integer, listMap, mapped, object, oneOf, optional, withDefault, type Parser } from './parse.ts';
import { decimal, modelName } from './scalars.ts';

export type ConcurrencySpec =
  | { readonly mode: 'Fixed'; readonly max: number }
  /** Learnt from the vendor's answers: begins with `start`, stays from `min` to `max`. */
  | { readonly mode: 'Adaptive'; readonly min: number; readonly max: number; readonly start: number };

const MOST = 10_000;
/** What an account may learn up to when it says nothing: the vendor is known to allow one to ten, undocumented. */
const DEFAULT_MAX = 10;

/** What holds for an account that says nothing of concurrency. */
export const DEFAULT_CONCURRENCY: ConcurrencySpec = { mode: 'Adaptive', min: 1, max: DEFAULT_MAX, start: 1 };

interface RawConcurrency {
  readonly mode: ConcurrencySpec['mode'];
  readonly min: number | null;
  readonly max: number | null;
  readonly start: number | null;
}

const slots = integer({ min: 1, max: MOST });

/** Null when the field is absent. Without `mode` it is Fixed. */
export const concurrency: Parser<ConcurrencySpec | null> = optional(
  mapped(
    object<RawConcurrency>({
      mode: withDefault(oneOf(['Fixed', 'Adaptive']), 'Fixed'),
      min: optional(slots),
      max: optional(slots),
      start: optional(slots),
    }),
    ({ mode, min, max, start }, at) => {
      if (mode === 'Fixed') {
        if (min !== null || start !== null)
          at.fail('min and start are only read with mode: Adaptive; remove them or set mode: Adaptive');
        return max === null ? at.child('max').fail('is required with mode: Fixed') : { mode, max };
      }
      const learnt = { mode, min: min ?? 1, max: max ?? DEFAULT_MAX, start: start ?? min ?? 1 };
      if (learnt.min > learnt.max) at.child('min').fail(`must be at most max (${learnt.max})`);
      if (learnt.start < learnt.min || learnt.start > learnt.max)
        at.child('start').fail(`must be from min to max (${learnt.min} to ${learnt.max})`);
      return learnt;
    },
  ),
);

/** What one model of an account may have in flight. */
export interface ModelConcurrencySpec {
  /** Routed name, or `other` for all that the catalog does not list. */
  readonly model: string;
  readonly max: number;
  /** Null: the account's. */
  readonly start: number | null;
}

export const modelConcurrency: Parser<readonly ModelConcurrencySpec[]> = withDefault(
  listMap(
    checked(
      object<ModelConcurrencySpec>({ model: modelName, max: slots, start: optional(slots) }),
      ({ max, start }, at) => {
        if (start !== null && start > max) at.child('start').fail(`must be at most max (${max})`);
      },
    ),
    { max: 64, keyOf: ({ model }) => model },
  ),
  [],
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
