/**
 * Sidecars, network and Redis from one seed: `SEEDS` histories of each class of faults, judged at the vendor.
 * `GLMQUOTA_SEED=42 SEEDS=1 LOUD=1 vitest run --project simulation -t crashes` repeats one and tells it aloud.
 */
import { expect, test } from 'vitest';
import { run, type Scenario } from './run.ts';
import * as scenarios from './scenarios.ts';

const first = Number(process.env['GLMQUOTA_SEED'] ?? 1);
const count = Number(process.env['SEEDS'] ?? 25);

const ALL: Readonly<Record<string, Scenario>> = { ...scenarios };

/**
 * What each class of faults may cost at most (rule F5). `longStops` is not among them yet: its seed 13 finds a call charged
 * that its caller says it never sent, which is safe but too dear, and open.
 */
const BOUNDS: Readonly<Record<Exclude<keyof typeof scenarios, 'longStops'>, string>> = {
  undisturbed: 'inv-I1 nothing above a limit',
  lossyNetwork: 'inv-I5 nothing above a limit, each id charged once, with messages lost, doubled and late',
  crashes: 'inv-L5 slots of dead sidecars come back',
  shortStops: 'T2 nothing above a limit with sidecars stopped for less than a lifetime',
  stalls: 'T3 nothing above a limit with Redis standing still',
  restarts: 'T7 nothing above a limit with Redis restarting',
  cutOffs: 'F5 no more than twice the limit with sidecars cut off from Redis only',
  lossyFailOver: 'F5 nothing above a limit after a fail-over that forgot the last writes, once all have registered',
};

test.each(Object.entries(BOUNDS))('%s: %s', async (name, _bound) => {
  const scenario = ALL[name]!;
  console.log(`GLMQUOTA_SEED=${first} SEEDS=${count}`);
  for (let seed = first; seed < first + count; seed++) {
    const { violation, trace } = await run(scenario, { seed, only: null, aloud: process.env['LOUD'] === '1' });
    if (violation) console.log(`GLMQUOTA_SEED=${seed}\n${trace.tail()}`);
    expect(violation).toBeNull();
  }
});
