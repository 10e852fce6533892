import { expect, test } from 'vitest';
import { createCell } from '#sidecar/base/cell.ts';

const never = new AbortController().signal;

test('everybody who waits is told the next value, once', async () => {
  const cell = createCell(1);
  const waiting = [cell.next(never), cell.next(never)];
  cell.set(2);
  cell.set(3);
  expect(await Promise.all(waiting)).toEqual([2, 2]);
  expect(cell.value).toBe(3);
});

test('waiting can be given up', async () => {
  const gone = new AbortController();
  const waiting = createCell(1).next(gone.signal);
  gone.abort(new Error('enough'));
  await expect(waiting).rejects.toThrow('enough');
});
