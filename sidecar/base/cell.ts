/** A value that is replaced now and then, and a way to wait for the next one. */
import { orAbort } from './abort.ts';

export interface Cell<T> {
  readonly value: T;
  set(value: T): void;
  /** Resolves with the next value set; rejects with the signal's reason if it aborts first. */
  next(signal: AbortSignal): Promise<T>;
}

export function createCell<T>(initial: T): Cell<T> {
  let value = initial;
  let upcoming = Promise.withResolvers<T>();
  return {
    get value() {
      return value;
    },
    set(next) {
      value = next;
      const told = upcoming;
      upcoming = Promise.withResolvers<T>();
      told.resolve(next);
    },
    next: (signal) => orAbort(upcoming.promise, signal),
  };
}
