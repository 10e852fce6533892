import { describe, expect, test } from 'vitest';
import { SseSplitter } from '#sidecar/glm/sse.ts';

function split(text: string, options: { cut?: number; bound?: number } = {}) {
  const frames: { event: string; data: string }[] = [];
  const splitter = new SseSplitter(({ event, data }) => frames.push({ event, data: data.toString() }), options.bound);
  const bytes = Buffer.from(text);
  const step = options.cut ?? bytes.length;
  for (let at = 0; at < bytes.length; at += step) splitter.push(bytes.subarray(at, at + step));
  splitter.end();
  return { frames, dropped: splitter.dropped };
}

const data = (text: string, event = '') => ({ event, data: text });

describe('frames', () => {
  test.each([
    ['line feeds', 'data: a\n\ndata: b\n\n', [data('a'), data('b')]],
    ['carriage returns and line feeds', 'data: a\r\n\r\ndata: b\r\n\r\n', [data('a'), data('b')]],
    ['lines of one frame that end in both', 'event: x\r\ndata: a\r\ndata: b\r\n\r\n', [data('a\nb', 'x')]],
    ['carriage returns', 'data: a\r\rdata: b\r\r', [data('a'), data('b')]],
    ['names', 'event: x\ndata: a\n\ndata: b\n\n', [data('a', 'x'), data('b')]],
    ['several data lines', 'data: a\ndata: b\n\n', [data('a\nb')]],
    ['comments and other fields', ': hi\nid: 1\nretry: 5\ndata: a\n\n', [data('a')]],
    ['a colon without a space', 'data:a\n\n', [data('a')]],
    ['one space only taken off', 'data:  a\n\n', [data(' a')]],
    ['colons in the data', 'data: a:b: c\n\n', [data('a:b: c')]],
    ['a name without data, which is no frame', 'event: ping\n\ndata: a\n\n', [data('a')]],
    ['blank lines between', '\n\n\ndata: a\n\n\n\n', [data('a')]],
    ['no blank line at the end', 'data: a\n\ndata: b', [data('a'), data('b')]],
    ['letters of several bytes', 'data: ä€😀\n\n', [data('ä€😀')]],
    ['an empty data field', 'data\n\n', [data('')]],
  ])('are split at %s, wherever the chunks end', (_, text, expected) => {
    expect(split(text).frames).toEqual(expected);
    for (const cut of [1, 2, 3, 5]) expect(split(text, { cut }).frames).toEqual(expected);
  });
});

describe('bounds', () => {
  test.each([1, 7, 1000])('a frame that is too long is dropped whole, the next one is not (chunks of %i)', (cut) => {
    const text = `data: ${'x'.repeat(100)}\ndata: tail\n\ndata: next\n\n`;
    expect(split(text, { cut, bound: 50 })).toEqual({ frames: [data('next')], dropped: 1 });
  });

  test('many short lines of one frame count together', () => {
    const text = `${'data: 123456789\n'.repeat(10)}\ndata: next\n\n`;
    expect(split(text, { bound: 50 })).toEqual({ frames: [data('next')], dropped: 1 });
  });

  test('a long comment is dropped without a trace in later frames', () => {
    const text = `: ${'x'.repeat(500)}\n\ndata: next\n\n`;
    expect(split(text, { cut: 10, bound: 50 }).frames).toEqual([data('next')]);
  });
});
