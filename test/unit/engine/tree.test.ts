import { expect, test } from 'vitest';
import { AppError } from '#sidecar/base/errors.ts';
import { treeRules } from '#sidecar/engine/acl.ts';
import { functionKeys } from '#sidecar/engine/keys.ts';
import { ENGINE_CONSTANTS } from '#sidecar/engine/constants.ts';
import { assembleLibrary, ENGINE_VERSION } from '#sidecar/engine/library.ts';
import { OPERATIONS } from '#sidecar/engine/lua-source.ts';
import { parseTree, serializeTree } from '#sidecar/engine/tree-text.ts';
import { configHash, encodeTree, windowKey } from '#sidecar/engine/tree.ts';
import { MAX_AMOUNT, type LimitConfig, type NodeConfig } from '#sidecar/engine/tree-terms.ts';
import { HELD, limit, node, TREE_KEY, treeOf } from '#test/support/engine.ts';

const daily = {
  type: 'Calendar',
  period: 'Day',
  timeZone: 'Europe/Paris',
  boundariesMs: [1_795_219_200_000, 1_795_305_600_000],
} as const;
const shared = limit('five-hour', 2, { windowOwner: 'account' });
const good = [
  node('account', null, { limits: [limit('five-hour', 5), limit('daily', MAX_AMOUNT, { window: daily })] }),
  node('model:other', 'account'),
  node('quota:a/b', 'account', { rate: { intervalUs: 1000, burst: 3 }, limits: [shared] }),
];

test('a tree has the same hash whoever compiles it, and another one for every change', () => {
  const hash = configHash(treeOf(good));
  expect(configHash(structuredClone(treeOf(good)))).toBe(hash);
  const changed = [
    treeOf(good.slice(0, 2)),
    treeOf([{ ...good[0]!, stops: HELD }, ...good.slice(1)]),
    treeOf([{ ...good[0]!, limits: [limit('five-hour', 6)] }, ...good.slice(1)]),
    { ...treeOf(good), account: { ...treeOf(good).account, uid: 'another' } },
  ];
  expect(new Set([hash, ...changed.map(configHash)]).size).toBe(5);
});

test('a tree survives its text', () => {
  expect(parseTree(serializeTree(treeOf(good)))).toEqual(treeOf(good));
});

test('amounts up to 2^53 − 1 are written as plain digits', () => {
  expect(encodeTree(treeOf(good)).body).toContain('9007199254740991');
});

test("a window's key holds its identity and nothing that may change while it runs", () => {
  expect(windowKey(limit('five-hour', 1))).toBe(windowKey(limit('five-hour', 2)));
  const others = [
    limit('renamed', 1),
    limit('five-hour', 1, { resource: 'Prompts' }),
    limit('five-hour', 1, { window: { type: 'Anchored', durationMs: 1 } }),
    limit('five-hour', 1, { window: { type: 'Sliding', durationMs: 60_000 } }),
    limit('five-hour', 1, { window: daily }),
    limit('five-hour', 1, { window: { ...daily, timeZone: 'UTC' } }),
    limit('five-hour', 1, { windowOwner: 'account' }),
  ];
  expect(new Set([limit('five-hour', 1), ...others].map(windowKey)).size).toBe(others.length + 1);
});

const account = (rest: Partial<NodeConfig>): readonly NodeConfig[] => [node('account', null, rest)];
const withLimit = (rest: Partial<LimitConfig>): readonly NodeConfig[] => account({ limits: [limit('l', 1, rest)] });
const bad: readonly [string, readonly NodeConfig[], RegExp][] = [
  ['no account', [], /starts with the node `account`/],
  ['a second root', [...account({}), node('quota:a/b', null)], /has no parent/],
  ['a missing parent', [...account({}), node('quota:a/b', 'quota:a/c')], /stands before its parent/],
  ['a node twice', [...account({}), ...account({})], /there twice/],
  [
    'a model below a quota',
    [...account({}), node('quota:a/b', 'account'), node('model:x', 'quota:a/b')],
    /must hang under/,
  ],
  ['a name of 10,000 characters', [...account({}), node('x'.repeat(10_000), 'account')], /longer than 600/],
  ['a name with a separator', withLimit({ name: 'a|b' }), /holds \|/],
  ['a negative amount', withLimit({ amount: -1 }), /amount must be an integer/],
  ['an amount of 2^53', withLimit({ amount: 2 ** 53 }), /amount must be an integer/],
  ['a fraction', withLimit({ amount: 1.5 }), /amount must be an integer/],
  ['a window of 0', withLimit({ window: { type: 'Anchored', durationMs: 0 } }), /duration must be/],
  ['no boundaries', withLimit({ window: { ...daily, boundariesMs: [] } }), /number of boundaries/],
  ['boundaries that go back', withLimit({ window: { ...daily, boundariesMs: [2, 1] } }), /do not ascend/],
  ['a limit twice', account({ limits: [limit('l', 1), limit('l', 2)] }), /limit l is there twice/],
  ['a rate of burst 0', account({ rate: { intervalUs: 1, burst: 0 } }), /burst must be/],
  ['a rate beyond 2^53 µs', account({ rate: { intervalUs: 10 ** 10, burst: 10 ** 6 } }), /burst must be/],
  ['negative concurrency', account({ concurrency: -1 }), /concurrency must be/],
  ['a window owned by nobody', [...account({}), node('q', 'account', { limits: [shared] })], /no ancestor that owns/],
  [
    'a shared window of another length',
    [
      ...account({ limits: [limit('five-hour', 1, { window: { type: 'Anchored', durationMs: 9000 } })] }),
      node('q', 'account', { limits: [shared] }),
    ],
    /another resource or window/,
  ],
];
test.each(bad)('a tree with %s is refused', (_what, nodes, message) => {
  expect(() => encodeTree(treeOf(nodes))).toThrow(message);
  expect(() => encodeTree(treeOf(nodes))).toThrow(AppError);
});

test('a path deeper than 16 nodes is refused', () => {
  const deep = Array.from({ length: 16 }, (_, index) => node(`q${index}`, index === 0 ? 'account' : `q${index - 1}`));
  expect(() => encodeTree(treeOf([node('account', null), ...deep]))).toThrow(/deeper than 16/);
});

test('all keys of a tree carry its hash tag, and what is not a tree key is refused', () => {
  const keys = functionKeys(TREE_KEY);
  expect(new Set(keys).size).toBe(17);
  expect(keys.every((key) => key.startsWith(`q:{${TREE_KEY}}:`))).toBe(true);
  expect(() => functionKeys('a}{b')).toThrow(AppError);
});

test("W5 a tree's user may write every key of its tree but the config record, and nothing else", () => {
  const rules = treeRules(TREE_KEY, 'functions').filter((rule) => /^[~%&]/.test(rule));
  expect(rules).toEqual([`~q:{${TREE_KEY}}:[^c]*`, `%R~q:{${TREE_KEY}}:c`, `&q:{${TREE_KEY}}:*`]);
  const taken = functionKeys(TREE_KEY).filter((key) => key.startsWith(`q:{${TREE_KEY}}:c`));
  expect(taken).toEqual([]);
});

test('the library registers every operation under its version, with the constants of the model', () => {
  const text = assembleLibrary();
  for (const operation of OPERATIONS) expect(text).toContain(`register('${operation}'`);
  expect(text.startsWith(`#!lua name=glmquota_${ENGINE_VERSION}\n`)).toBe(true);
  for (const value of Object.values(ENGINE_CONSTANTS)) expect(text).toContain(String(value));
});
