/** Whether the oracles see anything: one thing is broken at a time, and a run of some class has to turn red. */
import { expect, test } from 'vitest';
import { run, type Sabotage, type Scenario } from './run.ts';
import * as pods from './scenarios.ts';
import * as store from './store-scenarios.ts';
import * as tree from './tree-scenarios.ts';

const SEEDS = 60;

interface Break extends Sabotage {
  readonly what: string;
  /** What has to be said, among the first seeds of the class. */
  readonly says: RegExp;
  readonly scenario: Scenario;
}

const BREAKS: readonly Break[] = [];

test.each(BREAKS)('$what is noticed', async ({ scenario, says, ...sabotage }) => {
  expect(await firstViolation(scenario, sabotage)).toMatch(says);
});

/** The same seed is the same history, to the last message. */
test.each(Object.entries({ ...pods, ...store, ...tree }))('%s: a seed tells the same twice', async (_name, scenario) => {
  const digests = [];
  for (let twice = 0; twice < 2; twice++)
    digests.push((await run(scenario, { seed: 7, only: null, aloud: false })).trace.digest());
  expect(digests[1]).toBe(digests[0]);
});

async function firstViolation(scenario: Scenario, sabotage: Sabotage): Promise<string> {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violation } = await run(scenario, { seed, only: null, aloud: false, sabotage });
    if (violation !== null) return `${violation.rule}, seed ${seed}: ${violation.numbers}`;
  }
  return 'nothing';
}
