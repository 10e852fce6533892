import Anthropic from '@anthropic-ai/sdk';
import { expect, test } from 'vitest';
import { dataOf, Fixture, question } from './fixture.ts';

const request = (content: string): Anthropic.MessageCreateParamsNonStreaming => ({
  model: 'glm-5.3',
  max_tokens: 1000,
  messages: [{ role: 'user', content }],
});

const failure = async (call: Promise<unknown>): Promise<unknown> => await call.catch((error: unknown) => error);

test('the Anthropic SDK gets a plain answer; input_tokens leave cached ones out', async () => {
  await using fixture = await Fixture.start();
  const answer = await fixture.anthropic().messages.create(request('[[sim tokens=2 prompt=100 cached=75]]'));
  expect(answer.content).toEqual([{ type: 'text', text: 'word0 word1 ' }]);
  expect(answer.stop_reason).toBe('end_turn');
  expect(answer.usage).toMatchObject({ input_tokens: 25, output_tokens: 2, cache_read_input_tokens: 75 });
  await fixture.control.knobs({ accounting: { messagesInputIncludesCached: true } });
  const other = await fixture.anthropic().messages.create(request('[[sim tokens=2 prompt=100 cached=75]]'));
  expect(other.usage.input_tokens).toBe(100);
});

test('message_start says zero and the last message_delta says what was used', async () => {
  await using fixture = await Fixture.start();
  const headers = { 'x-api-key': 'key-id.key-secret', authorization: '' };
  const body = question('[[sim tokens=8 reasoning=4 prompt=50]]', { max_tokens: 100, stream: true });
  const response = await fixture.post('/api/anthropic/v1/messages', body, headers);
  const events = dataOf(await response.text());
  expect(events[0]).toMatchObject({
    type: 'message_start',
    message: {
      id: expect.stringMatching(/^msg_20261117200000/) as unknown,
      usage: { input_tokens: 0, output_tokens: 0 },
    },
  });
  expect(events.at(-2)).toMatchObject({
    type: 'message_delta',
    usage: { input_tokens: 50, output_tokens: 8, cache_read_input_tokens: 0 },
  });
  expect(events.at(-1)).toEqual({ type: 'message_stop' });
});

test('the Anthropic SDK streams thinking, text and tools', async () => {
  await using fixture = await Fixture.start();
  const client = fixture.anthropic();
  const answer = await client.messages.stream(request('[[sim tokens=8 reasoning=4]]')).finalMessage();
  expect(answer.content).toMatchObject([
    { type: 'thinking', thinking: 'thought0 thought1 thought2 thought3 ' },
    { type: 'text', text: 'word0 word1 word2 word3 ' },
  ]);
  const tool = await client.messages
    .stream({
      ...request('weather?'),
      tools: [{ name: 'weather', input_schema: { type: 'object' } }],
      tool_choice: { type: 'any' },
    })
    .finalMessage();
  expect(tool.stop_reason).toBe('tool_use');
  expect(tool.content).toMatchObject([{ type: 'tool_use', name: 'weather', input: { location: 'Beijing' } }]);
});

test('the [1m] suffix is taken and count_tokens answers without counting a call', async () => {
  await using fixture = await Fixture.start();
  const client = fixture.anthropic();
  const answer = await client.messages.create({ ...request('hi'), model: 'glm-5.3[1m]' });
  expect(answer.model).toBe('glm-5.3');
  const { messages, model } = request('twelve chars');
  expect(await client.messages.countTokens({ model, messages })).toEqual({ input_tokens: 3 });
  expect((await fixture.control.report()).calls).toBe(1);
});

test('errors come in the Anthropic shape, 1305 as 529', async () => {
  await using fixture = await Fixture.start();
  const client = fixture.anthropic();
  const overloaded = await failure(client.messages.create(request('[[sim fault=code:1305]]')));
  expect(overloaded).toMatchObject({
    status: 529,
    error: { type: 'error', error: { type: 'overloaded_error', code: '1305' } },
  });
  const limited = await failure(client.messages.create(request('[[sim fault=code:1313]]')));
  expect(limited).toBeInstanceOf(Anthropic.RateLimitError);
  expect(limited).toMatchObject({
    error: { error: { message: expect.stringMatching(/^\[1313\]\[Your account/) as unknown } },
  });
  expect(await failure(fixture.anthropic('wrong').messages.create(request('hi')))).toBeInstanceOf(
    Anthropic.AuthenticationError,
  );
});

test('the code may stand in the message only', async () => {
  await using fixture = await Fixture.start({}, { knobs: { errors: { messagesCode: false } } });
  const error = await failure(fixture.anthropic().messages.create(request('[[sim fault=code:1302]]')));
  expect(error).toHaveProperty('error.error.message', expect.stringMatching(/^\[1302\]/));
  expect(error).not.toHaveProperty('error.error.code');
});

test('an error inside a stream that began with 200 reaches the SDK as one', async () => {
  await using fixture = await Fixture.start();
  const stream = fixture.anthropic().messages.stream(request('[[sim fault=streamerror:1302]]'));
  expect(await failure(stream.finalMessage())).toBeInstanceOf(Anthropic.APIError);
  const { rows } = await fixture.control.report();
  expect(rows).toMatchObject([{ calls: 1, broken: 1, completed: 0 }]);
});

test('a used-up window says when to come back only to those who send anthropic-beta', async () => {
  await using fixture = await Fixture.start({
    windows: [{ name: 'five-hour', resource: 'Prompts', amount: 0, durationMs: 3_600_000 }],
  });
  const client = fixture.anthropic();
  const bare = (await failure(client.messages.create(request('hi')))) as InstanceType<typeof Anthropic.APIError>;
  const headers = { 'anthropic-beta': 'claude-code-20250219' };
  const beta = (await failure(client.messages.create(request('hi'), { headers }))) as typeof bare;
  expect(bare.headers?.get('retry-after')).toBeNull();
  expect(beta.headers?.get('retry-after')).toBe('3600');
  expect(beta.headers?.get('anthropic-ratelimit-unified-status')).toBe('rejected');
});

test('without cache_control nothing is cached when the vendor needs the marker', async () => {
  await using fixture = await Fixture.start(
    {},
    { knobs: { accounting: { messagesCacheNeedsMarker: true }, answer: { cachedPercent: 50 } } },
  );
  const client = fixture.anthropic();
  const plain = await client.messages.create(request('[[sim prompt=100]]'));
  expect(plain.usage.cache_read_input_tokens).toBe(0);
  const marked = await client.messages.create({
    ...request('[[sim prompt=100]]'),
    system: [{ type: 'text', text: 'be brief', cache_control: { type: 'ephemeral' } }],
  });
  expect(marked.usage.cache_read_input_tokens).toBe(50);
});
