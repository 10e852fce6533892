import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { parseArguments } from '#operator/ledger/arguments.ts';
import { changeOf, treeOfObjects } from '#operator/ledger/changes.ts';
import { EXAMPLE } from '#operator/local/arguments.ts';
import { readDocuments } from '#operator/local/documents.ts';
import { shippedCatalog } from '#operator/local/files.ts';
import { createCalendar } from '#operator/trees/calendar.ts';
import { limit, node, START_MS, treeOf } from '#test/support/engine.ts';

const TREE = treeOf([
  node('account', null, { concurrency: 8, adaptive: { min: 2, start: 4 } }),
  node('model:other', 'account'),
  node('quota:a/team', 'account', { limits: [limit('daily', 5, { resource: 'Cost' }), limit('five-hour', 9)] }),
  node('quota:b/team', 'account', { limits: [limit('five-hour', 9)] }),
  node('quota:b/crew', 'account', { limits: [limit('five-hour', 9)] }),
]);

const set = (text: string) => {
  const parsed = parseArguments(['--redis', 'redis://127.0.0.1', '--tree', 'glm/max', '--limit', text]);
  if (parsed.kind !== 'run') throw new Error(JSON.stringify(parsed));
  return changeOf(null, parsed.options.limits)(TREE);
};
const amountsOf = (name: string, tree = TREE) =>
  tree.nodes.find((each) => each.name === name)?.limits.map(({ amount }) => amount);

test('L1 a limit is set on a node by its whole name, by namespace/name or by a name that only one has', () => {
  expect(amountsOf('quota:a/team', set('quota:a/team/five-hour=50'))).toEqual([5, 50]);
  expect(amountsOf('quota:b/team', set('b/team/five-hour=50'))).toEqual([50]);
  expect(amountsOf('quota:b/crew', set('crew/five-hour=50'))).toEqual([50]);
  expect(() => set('team/five-hour=50')).toThrow('several nodes have that name');
  expect(() => set('gone/five-hour=50')).toThrow('no node has that name');
});

test('L1 amounts are written as in a GLMQuota', () => {
  expect(amountsOf('quota:a/team', set('a/team/daily=12.50'))).toEqual([12_500_000_000, 9]);
  expect(() => set('a/team/five-hour=1.5')).toThrow('--limit quota:a/team/five-hour');
  expect(() => set('a/team/weekly=1')).toThrow('there are concurrency, daily, five-hour');
});

test('L1 the slots of a node are set with what it may learn', () => {
  const account = set('account/concurrency=3').nodes[0];
  expect(account).toMatchObject({ concurrency: 3, adaptive: { min: 2, start: 3 } });
});

test('L1 files of objects compile to the tree of the account, with the identity it had', () => {
  const objects = readDocuments([{ name: 'example', text: EXAMPLE }]);
  const input = { objects, shipped: shippedCatalog(), calendar: createCalendar(), nowMs: START_MS };
  const other = treeOfObjects(input, { namespace: 'default', name: 'max' });
  const changed = changeOf(other, [{ node: 'me', limit: 'concurrency', amount: '1' }])(TREE);
  expect(changed).toMatchObject({ key: TREE.key, account: TREE.account });
  expect(changed.nodes.find(({ name }) => name === 'quota:default/me')).toMatchObject({ concurrency: 1 });
  expect(() => treeOfObjects(input, { namespace: 'default', name: 'min' })).toThrow('no GLMAccount default/min');
});

test('wrong arguments are all told at once', () => {
  const parsed = parseArguments(['--from', 'yesterday', '--limit', 'five-hour', '--tree', 'max']);
  expect(parsed).toEqual({
    kind: 'wrong',
    problems: [
      expect.stringContaining('--redis'),
      expect.stringContaining('--tree'),
      expect.stringContaining('--from'),
      expect.stringContaining('--limit'),
    ],
  });
  expect(parseArguments(['--help'])).toEqual({ kind: 'help' });
  expect(parseArguments(['--no-such'])).toMatchObject({ kind: 'wrong' });
});

test('the command is one of package.json', () => {
  const file = resolve(import.meta.dirname, '../../../package.json');
  expect(readFileSync(file, 'utf8')).toContain('node operator/ledger/main.ts');
});
