/** All mutants, and what keeps the table true to the code. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { BOUNDS } from './bounds.ts';
import { coverageFaults } from './coverage.ts';
import { DECIDERS } from './deciders.ts';
import { LEARNT } from './learnt.ts';
import { LEDGER } from './ledger.ts';
import type { Mutant } from './mutant.ts';
import { SIDECAR_TALK } from './sidecar-talk.ts';
import { SIDECAR_CALLS } from './sidecar.ts';
import { STEPS } from './steps.ts';
import { TIME } from './time.ts';
import { WAITING } from './waiting.ts';
import { WAKES } from './wakes.ts';
import { WINDOWS } from './windows.ts';

export const MUTANTS: readonly Mutant[] = [
  ...DECIDERS,
  ...TIME,
  ...WINDOWS,
  ...LEARNT,
  ...WAITING,
  ...WAKES,
  ...STEPS,
  ...BOUNDS,
  ...LEDGER,
  ...SIDECAR_CALLS,
  ...SIDECAR_TALK,
];

/** What is wrong with the table itself: texts that are not there exactly once, rules and guards without a mutant. */
export function tableFaults(root: string): readonly string[] {
  const texts = new Map<string, string>();
  const text = (file: string): string => {
    const known = texts.get(file) ?? readFileSync(join(root, file), 'utf8');
    texts.set(file, known);
    return known;
  };
  const names = MUTANTS.map(({ guard }) => guard);
  const twice = names.filter((name, index) => names.indexOf(name) !== index);
  const lost = MUTANTS.flatMap(({ guard, file, find }) => {
    const count = text(file).split(find).length - 1;
    return count === 1 ? [] : [`${guard}: its text is ${count} times in ${file}: ${find}`];
  });
  const noTest = [...new Set(MUTANTS.flatMap(({ red }) => red))].filter(
    (test) => !readdirSync(join(root, dirname(test))).some((name) => join(dirname(test), name).startsWith(test)),
  );
  return [
    ...noTest.map((test) => `there is no test ${test}`),
    ...twice.map((name) => `two mutants are called ${name}`),
    ...lost,
    ...coverageFaults(MUTANTS, text),
  ];
}
