import OpenAI from 'openai';
import { expect, test } from 'vitest';
import { codeOf, collect, dataOf, Fixture, question } from './fixture.ts';

const weather = {
  type: 'function',
  function: { name: 'weather', parameters: { type: 'object', properties: { location: { type: 'string' } } } },
} as const;

const ask = (content: string): OpenAI.ChatCompletionMessageParam[] => [{ role: 'user', content }];

test('the OpenAI SDK gets a plain answer that names the routed model', async () => {
  await using fixture = await Fixture.start();
  const answer = await fixture
    .openai()
    .chat.completions.create({ model: 'glm-5.1', messages: ask('hello there [[sim tokens=3 cached=50 prompt=100]]') });
  expect(answer.model).toBe('glm-5.3');
  expect(answer.choices[0]?.message.content).toBe('word0 word1 word2 ');
  expect(answer.usage).toMatchObject({
    prompt_tokens: 100,
    completion_tokens: 3,
    total_tokens: 103,
    prompt_tokens_details: { cached_tokens: 50 },
  });
});

test('the OpenAI SDK streams, and usage stands in the last content chunk without being asked for', async () => {
  await using fixture = await Fixture.start();
  const stream = await fixture.openai().chat.completions.create({
    model: 'glm-5.3',
    stream: true,
    messages: ask('[[sim tokens=10 reasoning=4 chunk=2]]'),
  });
  const chunks = await collect(stream);
  const thoughts = chunks.filter((chunk) => chunk.choices[0] && 'reasoning_content' in chunk.choices[0].delta);
  expect(thoughts).toHaveLength(2);
  expect(chunks.at(-1)).toMatchObject({
    choices: [{ finish_reason: 'stop' }],
    usage: { completion_tokens: 10, completion_tokens_details: { reasoning_tokens: 4 } },
  });
});

test('include_usage moves usage to a chunk with empty choices', async () => {
  await using fixture = await Fixture.start();
  const response = await fixture.chat('hi', { stream: true, stream_options: { include_usage: true } });
  const chunks = dataOf(await response.text());
  expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 16 } });
  expect(chunks.at(-2)).not.toHaveProperty('usage');
});

test('a stream ends with [DONE], and comments, CRLF, cut and glued frames are knobs', async () => {
  await using fixture = await Fixture.start();
  const text = async (): Promise<string> => await (await fixture.chat('[[sim tokens=40]]', { stream: true })).text();
  const plain = await text();
  expect(plain.endsWith('data: [DONE]\n\n')).toBe(true);
  const bare = (stream: string): unknown => dataOf(stream).map(({ choices }) => choices);
  for (const framing of ['Cut', 'Glued'] as const) {
    await fixture.control.knobs({ stream: { framing } });
    expect(bare(await text())).toEqual(bare(plain));
  }
  await fixture.control.knobs({ stream: { framing: 'Whole', comments: true, lineEnd: 'CRLF', object: false } });
  const odd = await text();
  expect(odd).toMatch(/^: keep-alive\r\n\r\ndata: /);
  expect(bare(odd)).toEqual(bare(plain));
  expect(dataOf(odd)[0]).not.toHaveProperty('object');
});

test('a forced tool is called, in one piece or streamed when tool_stream asks for it', async () => {
  await using fixture = await Fixture.start();
  const client = fixture.openai();
  const request: OpenAI.ChatCompletionCreateParamsNonStreaming = {
    model: 'glm-5.3',
    messages: ask('weather?'),
    tools: [weather],
    tool_choice: 'required',
  };
  const answer = await client.chat.completions.create(request);
  expect(answer.choices[0]).toMatchObject({
    finish_reason: 'tool_calls',
    message: { tool_calls: [{ type: 'function', function: { name: 'weather' } }] },
  });
  const pieces = async (more: object): Promise<string[]> => {
    const response = await fixture.chat('weather?', { ...request, stream: true, ...more });
    return dataOf(await response.text()).flatMap(({ choices }) => {
      const [choice] = choices as { delta: { tool_calls?: { function: { arguments: string } }[] } }[];
      return choice?.delta.tool_calls?.map((call) => call.function.arguments) ?? [];
    });
  };
  const whole = await pieces({});
  const streamed = await pieces({ tool_stream: true });
  expect(whole).toHaveLength(1);
  expect(streamed).toHaveLength(3);
  expect(streamed.join('')).toBe(whole[0]);
});

test('max_tokens cuts the answer with finish_reason length', async () => {
  await using fixture = await Fixture.start();
  const answer = await fixture
    .openai()
    .chat.completions.create({ model: 'glm-5.3', max_tokens: 5, messages: ask('hi') });
  expect(answer.choices[0]?.finish_reason).toBe('length');
  expect(answer.usage?.completion_tokens).toBe(5);
});

test('SDK errors carry status and code of the vendor', async () => {
  await using fixture = await Fixture.start();
  const call = async (client: OpenAI, model: string): Promise<unknown> =>
    await client.chat.completions.create({ model, messages: ask('hi') }).catch((error: unknown) => error);
  const unknownModel = await call(fixture.openai(), 'glm-99');
  expect(unknownModel).toBeInstanceOf(OpenAI.BadRequestError);
  expect(unknownModel).toMatchObject({ status: 400, code: '1211' });
  expect(await call(fixture.openai(), 'glm-4.5')).toMatchObject({ status: 429, code: '1311' });
  expect(await call(fixture.openai(undefined, 'wrong'), 'glm-5.3')).toBeInstanceOf(OpenAI.AuthenticationError);
  expect(await call(fixture.openai('/api/paas/v4'), 'glm-5.3')).toMatchObject({ status: 429, code: '1113' });
});

test('bad parameters are refused with their codes', async () => {
  await using fixture = await Fixture.start();
  const path = '/api/coding/paas/v4/chat/completions';
  expect(await codeOf(await fixture.post(path, '{"model":'))).toBe('1210');
  expect(await codeOf(await fixture.post(path, { messages: [] }))).toBe('1213');
  expect(await codeOf(await fixture.post(path, { model: 'glm-5.3', messages: [] }))).toBe('1214');
  expect(await codeOf(await fixture.chat('hi', { temperature: 1.5 }))).toBe('1210');
  expect(await codeOf(await fixture.chat('hi', { thinking: { type: 'disabled' } }))).toBe('1210');
  expect(await codeOf(await fixture.chat('hi', { model: 'glm-5.3[1m]' }))).toBe('1211');
  expect(await codeOf(await fixture.chat('[[sim prompt=2000000]]'))).toBe('1261');
  expect(await codeOf(await fixture.post(path, question(), { authorization: '' }))).toBe('1001');
});

test('an unknown path is answered as the vendor does, in either way', async () => {
  await using fixture = await Fixture.start();
  const path = '/api/coding/paas/v4/v1/chat/completions';
  const first = await fixture.post(path, question());
  expect([first.status, await first.text()]).toEqual([500, '{"error":{"code":"500","message":"404 NOT_FOUND"}}']);
  await fixture.control.knobs({ errors: { unknownPath: 'NotFound404' } });
  const second = await fixture.post(path, question());
  expect(second.status).toBe(404);
  expect(await second.json()).toMatchObject({ status: 404, error: 'Not Found', path: '/v4/v1/chat/completions' });
});

test('a key of the other region is refused', async () => {
  await using fixture = await Fixture.start({ region: 'China' });
  expect(await codeOf(await fixture.chat())).toBe('1000');
});

test('the SDK lists models', async () => {
  await using fixture = await Fixture.start();
  const models = await collect(fixture.openai().models.list());
  expect(models.map(({ id }) => id)).toContain('glm-5.3');
});

test('the Responses API answers plainly and streams through the SDK', async () => {
  await using fixture = await Fixture.start();
  const client = fixture.openai('/api/v1');
  const plain = await client.responses.create({ model: 'glm-5.3', input: 'hi [[sim tokens=3]]' });
  expect(plain.output_text).toBe('word0 word1 word2 ');
  expect(plain.usage).toMatchObject({ output_tokens: 3 });
  const stream = client.responses.stream({ model: 'glm-5.3', input: 'hi [[sim tokens=9 reasoning=3]]' });
  const final = await stream.finalResponse();
  expect(final.output_text).toBe('word0 word1 word2 word3 word4 word5 ');
  expect(final.usage).toMatchObject({ output_tokens: 9, output_tokens_details: { reasoning_tokens: 3 } });
});
