import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { createTap } from '#sidecar/proxy/tap.ts';

const BODY = Buffer.from(
  JSON.stringify({
    model: 'glm-5.3',
    choices: [{ message: { content: 'hello' } }],
    usage: { prompt_tokens: 12, completion_tokens: 5, prompt_tokens_details: { cached_tokens: 2 } },
  }),
);
const USAGE = { inputTokens: 10, cachedTokens: 2, outputTokens: 5 };

test('an unencoded response is read as it passes and known at once', () => {
  const tap = createTap(['Content-Type', 'application/json'], 'OpenAI');
  tap.push(BODY.subarray(0, 20));
  tap.push(BODY.subarray(20));
  expect(tap.finish()).toMatchObject({ usage: USAGE, model: 'glm-5.3', complete: true });
});

test.for([
  ['gzip', gzipSync(BODY)],
  ['deflate', deflateSync(BODY)],
  ['br', brotliCompressSync(BODY)],
  ['zstd', zstdCompressSync(BODY)],
] as const)('a response in %s is decoded for reading', async ([encoding, encoded]) => {
  const tap = createTap(['Content-Encoding', encoding, 'Content-Type', 'application/json'], 'OpenAI');
  for (const byte of encoded) tap.push(Buffer.from([byte]));
  expect(await tap.finish()).toMatchObject({ usage: USAGE, complete: true });
});

test('a broken or unknown encoding leaves the usage unknown and fails nothing', async () => {
  for (const encoding of ['gzip', 'sdch']) {
    const tap = createTap(['Content-Encoding', encoding], 'OpenAI');
    tap.push(Buffer.from('not encoded at all'));
    tap.push(Buffer.from('and more'));
    expect(await tap.finish()).toMatchObject({ usage: null, complete: false });
  }
});

test('a cut response tells what was read until then', () => {
  const tap = createTap(['Content-Type', 'text/event-stream'], 'OpenAI');
  tap.push(Buffer.from('data: {"model":"glm-5.3","choices":[{"delta":{"content":"hi"}}]}\n\ndata: {"cho'));
  expect(tap.cut()).toMatchObject({ model: 'glm-5.3', contentSeen: true, complete: false });
});
