/**
 * How often properties run and from which seed: `RUNS=1000 GLMQUOTA_SEED=42 vitest …` repeats a run. Without a seed it is
 * always the same one, so that a change is judged by what it changed; `GLMQUOTA_SEED=random` looks for what nobody has
 * seen yet. `npm run proof` does that, and runs ten times as many.
 */
import type { Parameters } from 'fast-check';
import { isFull } from '#test/proof/mode.ts';

const FIXED_SEED = 20_261_125;

export function runParameters(defaultRuns: number): Parameters<unknown> & { readonly seed: number } {
  const given = process.env['GLMQUOTA_SEED'] ?? (isFull ? 'random' : FIXED_SEED);
  const seed = given === 'random' ? Date.now() % 2 ** 31 : Number(given);
  const numRuns = Number(process.env['RUNS'] ?? defaultRuns * (isFull ? 10 : 1));
  console.log(`GLMQUOTA_SEED=${seed} RUNS=${numRuns}`);
  return { seed, numRuns, endOnFailure: process.env['SHRINK'] === '0' };
}
