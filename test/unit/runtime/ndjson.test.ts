import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { LineCutter, readLines } from '#operator/runtime/ndjson.ts';

const lines = [{ note: 'größer als 4 €' }, { list: [1, 2] }, { nested: { text: 'a\nb' } }];
const bytes = Buffer.from(`${lines.map((line) => JSON.stringify(line)).join('\n')}\n`);

async function read(stream: Readable): Promise<unknown[]> {
  const values: unknown[] = [];
  for await (const value of readLines(stream, new AbortController().signal)) values.push(value);
  return values;
}

test('a stream cut in two at any byte gives the same values', async () => {
  for (let cut = 0; cut <= bytes.length; cut++) {
    const cutter = new LineCutter();
    const texts = [...cutter.push(bytes.subarray(0, cut)), ...cutter.push(bytes.subarray(cut))];
    expect(texts.map((text) => JSON.parse(text) as unknown)).toEqual(lines);
  }
});

test('what follows the last line end is dropped', async () => {
  const stream = Readable.from([Buffer.concat([bytes, Buffer.from('{"cut": tr')])]);
  expect(await read(stream)).toEqual(lines);
});

test('a line that is no JSON fails as a broken stream', async () => {
  const stream = Readable.from([Buffer.from('{"a":1}\n<html>\n')]);
  await expect(read(stream)).rejects.toMatchObject({
    code: 'unavailable',
  });
});

test('a line of three megabytes in small chunks is read', async () => {
  const long = JSON.stringify({ text: 'x'.repeat(3_000_000) });
  const cutter = new LineCutter();
  const text = Buffer.from(`${long}\n`);
  let found: string[] = [];
  for (let from = 0; from < text.length; from += 1000)
    found = [...found, ...cutter.push(text.subarray(from, from + 1000))];
  expect(found).toEqual([long]);
});

test('a line without end is given up before it fills the memory', () => {
  const cutter = new LineCutter();
  const chunk = Buffer.alloc(1024 * 1024, 'x');
  expect(() => {
    for (let turn = 0; turn < 20; turn++) cutter.push(chunk);
  }).toThrow(expect.objectContaining({ code: 'tooLarge' }));
});
