import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { tableFaults } from '#test/proof/mutation/table.ts';

const root = resolve(import.meta.dirname, '../..');

test('every rule, caller of wake, number and budget of the engine has a mutant that fits the code', () => {
  expect(tableFaults(root)).toEqual([]);
});
