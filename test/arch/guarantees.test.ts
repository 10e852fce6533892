import { expect, test } from 'vitest';
import { citationsIn, faultOf, read, rowsOf, uncited } from './citations.ts';

const GUARANTEES = 'sidecar/engine/GUARANTEES.md';
const RIVALS = 'test/integration/rivals/RIVALS.md';

test.each([GUARANTEES, RIVALS])('every test that %s cites is there', (file) => {
  const citations = citationsIn(read(file));
  expect(citations.length).toBeGreaterThan(20);
  expect(citations.map(faultOf).filter((fault) => fault !== null)).toEqual([]);
});

test.each(['Guaranteed', 'Bounds'])('every row of the table "%s" cites a test', (heading) => {
  const rows = rowsOf(read(GUARANTEES), heading);
  expect(rows.length).toBeGreaterThan(5);
  expect(rows.filter(({ citations }) => citations.length === 0).map(({ name }) => name)).toEqual([]);
});

test('every row of what is not guaranteed cites the test that shows it, or says that there is none', () => {
  const rows = rowsOf(read(GUARANTEES), 'Not guaranteed');
  expect(rows.length).toBeGreaterThan(5);
  expect(
    rows.filter(({ citations, text }) => citations.length === 0 && !text.endsWith('| none |')).map(({ name }) => name),
  ).toEqual([]);
});

test('every bound is a number', () => {
  const rows = rowsOf(read(GUARANTEES), 'Bounds');
  expect(rows.filter(({ text }) => !/\d|\bc\b/.test(text.split('|')[2] ?? '')).map(({ name }) => name)).toEqual([]);
});

test('no proof is without a row that cites it', () => {
  expect(uncited('proof', citationsIn(read(GUARANTEES)))).toEqual([]);
});

test("each of the rivals' 22 failures has its thread and a test under its number, or says why it is not about admission", () => {
  const rows = rowsOf(read(RIVALS));
  expect(rows.map(({ name }) => name)).toEqual(Array.from({ length: 22 }, (_, index) => String(index + 1)));
  const isTold = ({ name, text, citations }: (typeof rows)[number]): boolean =>
    citations.some((each) => each.includes(` › rival ${name}:`)) || text.includes('not about admission:');
  expect(rows.filter((row) => !isTold(row))).toEqual([]);
  expect(rows.filter(({ text }) => !/\b[\w.-]+\/[\w.-]+\/(issues|pull)\/\d+\b/.test(text))).toEqual([]);
});
