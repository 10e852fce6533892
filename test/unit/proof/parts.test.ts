import { expect, test } from 'vitest';
import { chosenParts, leftOutIn, type Part, runParts } from '#test/parts.ts';

const running = new AbortController().signal;

function part(name: string, run: Part['run']): Part {
  return { name, what: '', run };
}

const passing =
  (...leftOut: readonly string[]) =>
  () =>
    Promise.resolve({ passed: 2, failed: 0, leftOut });
const throwing = () => Promise.reject(new Error('the runner itself fails'));

test('a part that fails does not keep the next from running, and counts as a failure', async () => {
  const results = await runParts([part('one', throwing), part('two', passing('a soak'))], running);
  expect(results).toMatchObject([
    { name: 'one', passed: 0, failed: 1 },
    { name: 'two', passed: 2, failed: 0, leftOut: ['a soak'] },
  ]);
});

test('a run that is stopped begins no further part', async () => {
  const stop = new AbortController();
  const stopping = async () => {
    stop.abort();
    return passing()();
  };
  expect(await runParts([part('one', stopping), part('two', passing())], stop.signal)).toHaveLength(1);
});

test('parts run in their own order, and a name nobody has is refused', () => {
  const parts = [part('one', passing()), part('two', passing()), part('three', passing())];
  expect(chosenParts(parts, 'three,one').map(({ name }) => name)).toEqual(['one', 'three']);
  expect(() => chosenParts(parts, 'one,four')).toThrow('no such part: four; there are one, two, three');
});

test.each([
  [
    'left out: fourteen of fifteen minutes of the soak (npm run proof runs it)',
    ['fourteen of fifteen minutes of the soak'],
  ],
  ['\u001b[22m\u001b[39mleft out: 449 of 465 mutants (npm run proof runs them)', ['449 of 465 mutants']],
  ['  left out: a class (with a bracket)  ', ['a class (with a bracket)']],
  ['what is left out: nothing', []],
])('%j is heard as what it leaves out', (line, expected) => {
  expect(leftOutIn(line)).toEqual(expected);
});
