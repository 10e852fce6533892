/** How often properties run and from which seed: `RUNS=1000 GLMQUOTA_SEED=42 vitest …` repeats a run. */
import type { Parameters } from 'fast-check';

export function runParameters(defaultRuns: number): Parameters<unknown> & { readonly seed: number } {
  const seed = Number(process.env['GLMQUOTA_SEED'] ?? Date.now() % 2 ** 31);
  const numRuns = Number(process.env['RUNS'] ?? defaultRuns);
  console.log(`GLMQUOTA_SEED=${seed} RUNS=${numRuns}`);
  return { seed, numRuns, endOnFailure: process.env['SHRINK'] === '0' };
}
