/** All mutants, and what keeps the table true to the code. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LUA_FILES } from '#sidecar/engine/lua-source.ts';
import { DECIDERS } from './deciders.ts';
import { lua, type Mutant } from './mutant.ts';
import { TIME } from './time.ts';
import { WAITING } from './waiting.ts';
import { WAKES } from './wakes.ts';
import { WINDOWS } from './windows.ts';

export const MUTANTS: readonly Mutant[] = [...DECIDERS, ...TIME, ...WINDOWS, ...WAITING, ...WAKES];

/** What is wrong with the table itself: texts that are not there exactly once, `wake` callers that no mutant drops. */
export function tableFaults(root: string): readonly string[] {
  const text = (file: string): string => readFileSync(join(root, file), 'utf8');
  const names = MUTANTS.map(({ guard }) => guard);
  const twice = names.filter((name, index) => names.indexOf(name) !== index);
  const lost = MUTANTS.flatMap(({ guard, file, find }) => {
    const count = text(file).split(find).length - 1;
    return count === 1 ? [] : [`${guard}: its text is ${count} times in ${file}: ${find}`];
  });
  const unguarded = LUA_FILES.map(lua).flatMap((file) => uncoveredWakes(file, text(file)));
  return [...twice.map((name) => `two mutants are called ${name}`), ...lost, ...unguarded];
}

function uncoveredWakes(file: string, text: string): readonly string[] {
  const covered = MUTANTS.filter((mutant) => mutant.file === file).map(({ find, put }) => ({
    from: text.indexOf(find),
    to: text.indexOf(find) + find.length,
    drops: !put.includes('queue.wake'),
  }));
  return Array.from(text.matchAll(/(?<!function )queue\.wake(?:_path|_all)?\(/g), ({ index }) => index)
    .filter((at) => !covered.some(({ from, to, drops }) => drops && from <= at && at < to))
    .map((at) => `${file}:${text.slice(0, at).split('\n').length}: no mutant drops this call of queue.wake`);
}
