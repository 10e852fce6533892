import { describe, expect, test } from 'vitest';
import { createResponseReader, MAX_JSON_BYTES } from '#sidecar/glm/response.ts';
import type { Surface } from '#sidecar/glm/terms.ts';
import type { InputStyle } from '#sidecar/glm/usage.ts';

const SSE = 'text/event-stream;charset=UTF-8';
const usage = (inputTokens: number, cachedTokens: number, outputTokens: number) => ({
  inputTokens,
  cachedTokens,
  outputTokens,
});

function readJson(surface: Surface, body: unknown, inputStyle: InputStyle = 'Exclusive') {
  const reader = createResponseReader({ surface, contentType: 'application/json', inputStyle });
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  reader.push(bytes.subarray(0, 10));
  reader.push(bytes.subarray(10));
  return reader.end();
}

function readStream(surface: Surface, text: string, inputStyle: InputStyle = 'Exclusive') {
  const reader = createResponseReader({ surface, contentType: SSE, inputStyle });
  reader.push(Buffer.from(text));
  return reader.end();
}

const frame = (json: unknown): string => `data: ${JSON.stringify(json)}\n\n`;
const named = (type: string, rest: object = {}): string =>
  `event: ${type}
data: ${JSON.stringify({ type, ...rest })}

`;
const chunk = (delta: object, rest: object = {}) =>
  frame({ id: 'c', model: 'glm-5.3', choices: [{ index: 0, delta, finish_reason: null }], ...rest });
const last = { id: 'c', model: 'glm-5.3', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] };
const tokens = {
  prompt_tokens: 100,
  completion_tokens: 30,
  total_tokens: 130,
  prompt_tokens_details: { cached_tokens: 60 },
};

describe('a whole body', () => {
  test('of the OpenAI surface counts cached tokens apart from the prompt that includes them', () => {
    const facts = readJson('OpenAI', { model: 'glm-5.3', choices: [{ message: { content: 'hi' } }], usage: tokens });
    expect(facts).toMatchObject({ usage: usage(40, 60, 30), model: 'glm-5.3', complete: true, contentSeen: true });
  });

  const message = {
    type: 'message',
    model: 'glm-5.3',
    content: [{ type: 'text', text: 'hi' }],
    usage: { input_tokens: 100, cache_read_input_tokens: 60, output_tokens: 30 },
  };
  test('of the Anthropic surface counts its input as without the cached part', () => {
    expect(readJson('Anthropic', message)).toMatchObject({ usage: usage(100, 60, 30), contentSeen: true });
  });

  test('of the Anthropic surface can be told that its input includes it', () => {
    expect(readJson('Anthropic', message, 'Inclusive').usage).toEqual(usage(40, 60, 30));
  });

  test('of the Anthropic surface counts cache writes as input', () => {
    const written = { ...message, usage: { input_tokens: 5, cache_creation_input_tokens: 7, output_tokens: 1 } };
    expect(readJson('Anthropic', written).usage).toEqual(usage(12, 0, 1));
  });

  test('of the Responses surface counts its cached tokens from the details', () => {
    const body = {
      object: 'response',
      model: 'glm-5.3',
      output: [{ type: 'message' }],
      usage: { input_tokens: 100, input_tokens_details: { cached_tokens: 60 }, output_tokens: 30 },
    };
    expect(readJson('Responses', body)).toMatchObject({ usage: usage(40, 60, 30), contentSeen: true });
  });

  test('with an error has that and no content', () => {
    expect(readJson('OpenAI', { error: { code: '1302', message: 'busy' } })).toMatchObject({
      error: { code: '1302' },
      usage: null,
      contentSeen: false,
    });
  });

  test.each(['', '<html>', '{"model":"glm', '[]', 'null'])('that is no JSON object has no facts: %j', (body) => {
    expect(readJson('OpenAI', body)).toMatchObject({ usage: null, model: null, error: null, complete: false });
  });

  test('longer than the bound is not kept', () => {
    const reader = createResponseReader({ surface: 'OpenAI', contentType: null });
    const block = Buffer.alloc(MAX_JSON_BYTES / 8, 0x20);
    for (let i = 0; i < 9; i++) reader.push(block);
    expect(reader.end()).toMatchObject({ usage: null, complete: false, dataBytes: (MAX_JSON_BYTES / 8) * 9 });
  });

  test.each([-5, 'x', null, Number.POSITIVE_INFINITY, {}])('ignores a count of %j', (count) => {
    const body = { usage: { prompt_tokens: count, completion_tokens: 3 } };
    expect(readJson('OpenAI', body).usage).toEqual(usage(0, 0, 3));
  });

  test('cuts counts no call can have', () => {
    expect(readJson('OpenAI', { usage: { prompt_tokens: 1e15 } }).usage?.inputTokens).toBe(100_000_000);
  });
});

describe('an OpenAI stream', () => {
  const start = chunk({ role: 'assistant', content: '' });
  const word = chunk({ content: 'word' });

  test('reports its usage in the last content chunk', () => {
    const text = start + word.repeat(3) + frame({ ...last, usage: tokens }) + 'data: [DONE]\n\n';
    expect(readStream('OpenAI', text)).toMatchObject({
      usage: usage(40, 60, 30),
      model: 'glm-5.3',
      contentSeen: true,
      complete: true,
      frames: 6,
    });
  });

  test('or in a chunk without choices behind it', () => {
    const text = start + word + frame(last) + frame({ ...last, choices: [], usage: tokens }) + 'data: [DONE]\n\n';
    expect(readStream('OpenAI', text)).toMatchObject({ usage: usage(40, 60, 30), complete: true });
  });

  test('is whole with finish reason and usage, even if the client hangs up before [DONE]', () => {
    expect(readStream('OpenAI', start + word + frame({ ...last, usage: tokens })).complete).toBe(true);
    expect(readStream('OpenAI', start + word + frame(last)).complete).toBe(false);
  });

  test('that was cut has no usage', () => {
    expect(readStream('OpenAI', start + word)).toMatchObject({ usage: null, contentSeen: true, complete: false });
  });

  test('that only began has no content', () => {
    expect(readStream('OpenAI', start).contentSeen).toBe(false);
  });

  test.each(['reasoning_content', 'content'])('has content with %s', (field) => {
    expect(readStream('OpenAI', start + chunk({ [field]: 'x' })).contentSeen).toBe(true);
  });

  test('has content with a tool call', () => {
    expect(readStream('OpenAI', chunk({ tool_calls: [{ index: 0 }] })).contentSeen).toBe(true);
  });

  test('that the vendor gave up says so', () => {
    const end = frame({ ...last, choices: [{ index: 0, delta: {}, finish_reason: 'network_error' }] });
    expect(readStream('OpenAI', start + word + end + 'data: [DONE]\n\n').broke).toBe(true);
    expect(readStream('OpenAI', start + chunk({ content: 'a network_error' })).broke).toBe(false);
  });

  test('with an error in its middle has it', () => {
    const text = start + word + frame({ error: { code: '1305', message: 'busy' } });
    expect(readStream('OpenAI', text)).toMatchObject({ error: { code: '1305' }, contentSeen: true });
  });

  test('with an error first has no content', () => {
    const text = frame({ error: { code: '1302', message: 'busy' } });
    expect(readStream('OpenAI', text)).toMatchObject({ error: { code: '1302' }, contentSeen: false });
  });

  test.each(['\n', '', ' '])('glued together by %j is read all the same', (glue) => {
    const json = JSON.stringify({ ...last, usage: tokens });
    const text = `${start}data: ${JSON.stringify({ model: 'glm-5.3' })}${glue}data: ${json}${glue}data: [DONE]\n\n`;
    expect(readStream('OpenAI', text)).toMatchObject({ usage: usage(40, 60, 30), complete: true });
  });

  test('with a frame that is no JSON goes on behind it', () => {
    const text = start + 'data: {"usage":{"prompt_tok\n\n' + word + frame({ ...last, usage: tokens });
    expect(readStream('OpenAI', text).usage).toEqual(usage(40, 60, 30));
  });

  test('whose words look like usage is not fooled', () => {
    const text = start + word + chunk({ content: '"usage":{"prompt_tokens":9}, "error"' }) + word;
    expect(readStream('OpenAI', text)).toMatchObject({ usage: null, error: null });
  });

  test('keeps the largest of each field', () => {
    const text =
      word +
      frame({ usage: { prompt_tokens: 100, completion_tokens: 1 } }) +
      frame({ usage: { completion_tokens: 9 } });
    expect(readStream('OpenAI', text).usage).toEqual(usage(100, 0, 9));
  });
});

describe('an Anthropic stream', () => {
  const begin = named('message_start', { message: { model: 'glm-5.3', usage: { input_tokens: 0, output_tokens: 0 } } });
  const ping = named('ping');
  const word = named('content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'hi' } });
  const end = named('message_delta', {
    delta: { stop_reason: 'end_turn' },
    usage: { input_tokens: 40, cache_read_input_tokens: 60, output_tokens: 30 },
  });
  const stop = named('message_stop');

  test('begins with zeros and ends with the truth', () => {
    expect(readStream('Anthropic', begin + ping + word + word + end + stop)).toMatchObject({
      usage: usage(40, 60, 30),
      model: 'glm-5.3',
      contentSeen: true,
      complete: true,
    });
  });

  test('cut after its start has no usage and no content', () => {
    expect(readStream('Anthropic', begin + ping)).toMatchObject({ usage: null, contentSeen: false, complete: false });
  });

  test('may fail after its start', () => {
    const error = named('error', { error: { type: 'api_error', message: 'Internal Network Failure' } });
    expect(readStream('Anthropic', begin + error)).toMatchObject({
      error: { type: 'api_error', code: null, message: 'Internal Network Failure' },
      contentSeen: false,
    });
  });
});

describe('a Responses stream', () => {
  const created = named('response.created', { response: { model: 'glm-5.3', output: [], usage: null, error: null } });
  const word = named('response.output_text.delta', { delta: 'hi' });
  const response = {
    model: 'glm-5.3',
    usage: { input_tokens: 100, input_tokens_details: { cached_tokens: 60 }, output_tokens: 30 },
  };

  test('reports its usage when it is completed', () => {
    const text = created + word + named('response.completed', { response });
    expect(readStream('Responses', text)).toMatchObject({
      usage: usage(40, 60, 30),
      model: 'glm-5.3',
      complete: true,
      contentSeen: true,
      error: null,
    });
  });

  test('that failed has its error', () => {
    const text = created + named('response.failed', { response: { error: { code: '1302', message: 'x' } } });
    expect(readStream('Responses', text)).toMatchObject({ error: { code: '1302' }, contentSeen: false });
  });
});
