import { describe, expect, test } from 'vitest';
import { readRequest } from '#sidecar/glm/request.ts';

const read = (body: unknown) => readRequest(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)));

describe('a call', () => {
  test('is read whatever stands around its fields', () => {
    const body = {
      messages: [{ role: 'user', content: 'a "model": "other", } ] \\ "' }],
      tools: [{ model: 'inner', stream: true, max_tokens: 1 }],
      model: 'glm-5.3',
      stream: true,
      max_tokens: 100,
    };
    const text = JSON.stringify(body, null, 2);
    expect(read(text)).toEqual({
      kind: 'call',
      model: 'glm-5.3',
      stream: true,
      maxOutputTokens: 100,
      bodyBytes: Buffer.byteLength(text),
    });
  });

  test.each([
    ['max_tokens', { max_tokens: 7 }, 7],
    ['max_completion_tokens', { max_completion_tokens: 8 }, 8],
    ['max_output_tokens', { max_output_tokens: 9 }, 9],
    ['the smallest of several', { max_tokens: 9, max_completion_tokens: 4 }, 4],
    ['no bound', {}, null],
    ['a bound of another type', { max_tokens: '9' }, null],
    ['a bound that is none', { max_tokens: 0 }, null],
    ['null', { max_tokens: null }, null],
  ])('bounds its output by %s', (_, fields, expected) => {
    expect(read({ model: 'm', ...fields })).toMatchObject({ maxOutputTokens: expected });
  });

  test.each([
    [true, true],
    [false, false],
    ['true', false],
    [1, false],
    [null, false],
  ])('streams only for true: %j', (value, stream) => {
    expect(read({ model: 'm', stream: value })).toMatchObject({ stream });
  });

  test('is found under an escaped field name', () => {
    expect(read('{"mod\\u0065l":"glm-5.3"}')).toMatchObject({ model: 'glm-5.3' });
  });

  test('is read from a view into a larger buffer', () => {
    const outer = Buffer.from('xx{"model":"glm-5.3"}yy');
    expect(readRequest(outer.subarray(2, -2))).toMatchObject({ model: 'glm-5.3' });
  });

  test('of 32 MiB is read without touching its bytes', () => {
    const body = Buffer.from(
      JSON.stringify({ messages: [{ role: 'user', content: 'ä"\\'.repeat(5_000_000) }], model: 'glm-5.3' }),
    );
    const before = body.toString('latin1', 0, 1000);
    expect(readRequest(body)).toMatchObject({ kind: 'call', model: 'glm-5.3' });
    expect(body.toString('latin1', 0, 1000)).toBe(before);
  });
});

describe('a body that cannot be metered', () => {
  test.each([
    ['nothing', '', 'ends too early'],
    ['no JSON', 'model=glm-5.3', 'an object was expected'],
    ['a list', '[{"model":"m"}]', 'an object was expected'],
    ['a cut object', '{"model":"m","messages":[{"role":"user"', 'ends too early'],
    ['a cut string', '{"model":"glm-5', 'a string does not end'],
    ['text behind the object', '{"model":"m"}{"model":"n"}', 'unexpected text'],
    ['a missing comma', '{"model":"m" "stream":true}', 'a comma'],
    ['a missing colon', '{"model" "m"}', 'a colon'],
    ['a field name without quotes', '{model:"m"}', 'a field name'],
    ['a missing value', '{"model":}', 'a value was expected'],
    ['a value that is no JSON', '{"stream":yes,"model":"m"}', 'malformed'],
    ['a trailing comma', '{"model":"m",}', 'a field name'],
    ['no model', '{"stream":true}', 'names no model'],
    ['an empty model', '{"model":" "}', 'names no model'],
    ['a model that is no string', '{"model":{"name":"m"}}', 'names no model'],
    ['a model named twice', '{"model":"a","model":"b"}', '"model" twice'],
    ['a model named twice, once escaped', '{"model":"a","\\u006dodel":"b"}', '"model" twice'],
    ['a model of 300 characters', `{"model":"${'m'.repeat(300)}"}`, 'too long'],
  ])('%s is told apart', (_, body, message) => {
    expect(read(body)).toEqual({ kind: 'unreadable', message: expect.stringContaining(message) as string });
  });
});
