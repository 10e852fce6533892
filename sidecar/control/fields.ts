/** Reading single fields of a message; the path in every error is the proto's. */
import { MAX_AMOUNT } from '../engine/tree-terms.ts';
import { AppError } from '../base/errors.ts';

/** An int64 as a number; fails with `invalid` below 0 and above 2^53 - 1. */
export function integer(value: bigint, path: string): number {
  if (value < 0n || value > BigInt(MAX_AMOUNT)) {
    throw new AppError('invalid', `${path} is ${value}: it must be between 0 and ${MAX_AMOUNT}`);
  }
  return Number(value);
}

/** A uint32 within bounds; fails with `invalid` outside. */
export function within(value: number, bounds: readonly [number, number], path: string): number {
  if (value < bounds[0] || value > bounds[1]) {
    throw new AppError('invalid', `${path} is ${value}: it must be between ${bounds[0]} and ${bounds[1]}`);
  }
  return value;
}

/** A text that matches; fails with `invalid` otherwise. The text itself is not quoted: it may be a secret. */
export function text(value: string, pattern: RegExp, path: string): string {
  if (!pattern.test(value)) throw new AppError('invalid', `${path} is malformed`);
  return value;
}

/** Empty means absent. */
export function optional(value: string): string | null {
  return value === '' ? null : value;
}

/** A message field that must be there; fails with `invalid`. */
export function present<T>(value: T | undefined, path: string): T {
  if (value === undefined) throw new AppError('invalid', `${path} is missing`);
  return value;
}

/** A value of a closed set; fails with `unsupported` for any other: skipping it would quietly drop a rule. */
export function known<T>(values: ReadonlyMap<unknown, T>, value: unknown, path: string): T {
  const found = values.get(value);
  if (found === undefined) {
    throw new AppError('unsupported', `UpgradeRequired: ${path} is ${String(value)}, which this version does not know`);
  }
  return found;
}
