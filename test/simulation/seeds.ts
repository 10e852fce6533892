/**
 * Sidecars, network and Redis from one seed: so many histories of each class of faults, judged at the vendor.
 * `GLMQUOTA_SEED=42 SEEDS=1 LOUD=1 npx vitest run --project simulation -t crashes` repeats one and tells it aloud.
 */
import { expect, test } from 'vitest';
import { isFull, leftOut } from '#test/proof/mode.ts';
import { run, type Scenario } from './run.ts';

const FEW = 30;
const MANY = 400;
const first = Number(process.env['GLMQUOTA_SEED'] ?? 1);
const count = Number(process.env['SEEDS'] ?? (isFull ? MANY : FEW));

/** One test for each class; `bounds` says what it may cost at most (rule F5). */
export function testSeeds<Name extends string>(
  scenarios: Readonly<Record<Name, Scenario>>,
  bounds: Readonly<Record<NoInfer<Name>, string>>,
): void {
  const all = Object.entries(scenarios) as [Name, Scenario][];
  test.for(all.map(([name]) => [name, bounds[name]] as const))('%s: %s', async ([name]) => {
    const scenario = scenarios[name];
    for (let seed = first; seed < first + count; seed++) {
      const { violation, trace } = await run(scenario, { seed, only: null, aloud: process.env['LOUD'] === '1' });
      if (violation) console.log(`${trace.tail()}\nreplay: ${replay(name, seed)}`);
      expect(violation, `seed ${seed}`).toBeNull();
    }
    console.log(`${name}: seeds ${first} to ${first + count - 1}`);
  });
  if (count < MANY) leftOut(`${MANY - count} of ${MANY} seeds of ${all.length} classes of faults`);
}

function replay(name: string, seed: number): string {
  return `GLMQUOTA_SEED=${seed} SEEDS=1 npx vitest run --project simulation -t ${name}`;
}
