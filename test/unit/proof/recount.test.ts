import { expect, test } from 'vitest';
import { COUNTINGS, recount, straddling } from '#test/proof/stand/recount.ts';

const LENGTH = 10;
/** Two within the first window, one that runs over its end, one after it. */
const CALLS = [
  { startMs: 0, endMs: 4 },
  { startMs: 5, endMs: 6 },
  { startMs: 8, endMs: 13 },
  { startMs: 12, endMs: 14 },
];

test.each([
  [
    'Start',
    'Start',
    [
      [0, 3],
      [12, 1],
    ],
  ],
  [
    'Start',
    'End',
    [
      [0, 2],
      [12, 2],
    ],
  ],
  [
    'End',
    'Start',
    [
      [4, 4],
      [14, 0],
    ],
  ],
  [
    'End',
    'End',
    [
      [4, 3],
      [14, 1],
    ],
  ],
] as const)('a window that opens at the %s and charges at the %s', (opens, charges, wanted) => {
  expect(recount(CALLS, LENGTH, { opens, charges }).map(({ openedMs, used }) => [openedMs, used])).toEqual(wanted);
});

test('every call is charged once, however it is counted', () => {
  const sums = COUNTINGS.map((counting) => recount(CALLS, LENGTH, counting).reduce((sum, { used }) => sum + used, 0));
  expect(sums).toEqual([4, 4, 4, 4]);
});

test('a call that runs over a reset straddles it', () => {
  expect(straddling(CALLS, LENGTH)).toBe(1);
});
