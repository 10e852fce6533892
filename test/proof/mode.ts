/** How much is proved: `npm test` runs the short form and prints what it leaves out, `npm run proof` sets `GLMQUOTA_PROOF=full`. */
import { test } from 'vitest';

export const isFull = process.env['GLMQUOTA_PROOF'] === 'full';

/** Said by the short form. */
export function leftOut(what: string): void {
  if (!isFull) console.log(`left out: ${what} (npm run proof runs it)`);
}

/** A test that the short form leaves out. */
export function fullOnly(name: string, run: () => Promise<void>): void {
  leftOut(name);
  (isFull ? test.concurrent : test.skip)(name, run);
}
