/** What calls do that do not fit, who goes first, and when people are told. */
import { type WaitPolicy } from '../../../sidecar/engine/terms.ts';
import { PRIORITY_CLASSES, type PriorityClass } from '../../../sidecar/engine/tree-terms.ts';
import { integer, list, mapped, object, oneOf, optional, withDefault, type Parser } from './parse.ts';
import { durationMs } from './scalars.ts';

/** Each null: as the node above has it. */
export interface WaitingSpec {
  readonly mode: WaitPolicy['mode'] | null;
  readonly maxWaitMs: number | null;
  readonly maxLength: number | null;
}

/** What holds for an account that says nothing. */
export const DEFAULT_WAITING = { mode: 'UntilWindow', maxWaitMs: 240_000, maxLength: 1000 } as const;

const DAY_MS = 86_400_000;

interface RawWaiting {
  readonly mode: WaitPolicy['mode'] | null;
  readonly maxWait: number | null;
  readonly maxLength: number | null;
}

export const waiting: Parser<WaitingSpec> = withDefault(
  mapped(
    object<RawWaiting>({
      mode: optional(oneOf(['Reject', 'UntilSlot', 'UntilWindow'])),
      maxWait: optional(durationMs({ minMs: 1000, maxMs: DAY_MS })),
      maxLength: optional(integer({ min: 1, max: 100_000 })),
    }),
    ({ mode, maxWait, maxLength }) => ({ mode, maxWaitMs: maxWait, maxLength }),
  ),
  { mode: null, maxWaitMs: null, maxLength: null },
);

export interface PrioritySpec {
  /** Of calls that ask for no class. */
  readonly default: PriorityClass;
  readonly max: PriorityClass;
}

const DEFAULT_CLASS: PriorityClass = 'Normal';
const DEFAULT_MAX_CLASS: PriorityClass = 'High';

interface RawPriority {
  readonly default: PriorityClass | null;
  readonly max: PriorityClass | null;
}

/** The lower of two classes. */
export function lowerClass(a: PriorityClass, b: PriorityClass): PriorityClass {
  return PRIORITY_CLASSES.indexOf(a) > PRIORITY_CLASSES.indexOf(b) ? a : b;
}

const classOrNull = optional(oneOf(PRIORITY_CLASSES));

export const priority: Parser<PrioritySpec> = withDefault(
  mapped(object<RawPriority>({ default: classOrNull, max: classOrNull }), (raw, at) => {
    const max = raw.max ?? DEFAULT_MAX_CLASS;
    if (raw.default !== null && lowerClass(raw.default, max) !== raw.default)
      at.child('default').fail(`must not be above max (${max})`);
    return { default: raw.default ?? lowerClass(DEFAULT_CLASS, max), max };
  }),
  { default: DEFAULT_CLASS, max: DEFAULT_MAX_CLASS },
);

/** Whole percents of a limit whose crossing is told, ascending. */
export type Thresholds = readonly number[];

/** What holds for an account that says nothing. */
export const DEFAULT_THRESHOLDS: Thresholds = [80, 90, 95];

interface RawAlerts {
  readonly thresholdsPercent: readonly number[] | null;
}

/** Null: as the node above has it. An empty list tells nothing. */
export const alerts: Parser<Thresholds | null> = withDefault<Thresholds | null>(
  mapped(
    object<RawAlerts>({ thresholdsPercent: optional(list(integer({ min: 1, max: 100 }), { max: 8 })) }),
    ({ thresholdsPercent }, at) => {
      if (thresholdsPercent === null) return null;
      if (new Set(thresholdsPercent).size < thresholdsPercent.length)
        at.child('thresholdsPercent').fail('names a percentage twice');
      return thresholdsPercent.toSorted((a, b) => a - b);
    },
  ),
  null,
);
