import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { World } from './world.ts';

let world: World;
beforeAll(async () => {
  world = await World.start();
  await world.sidecar();
});
afterAll(() => world[Symbol.asyncDispose]());

const openai = () => new OpenAI({ baseURL: `${world.url}/api/coding/paas/v4`, apiKey: 'placeholder', maxRetries: 0 });
const anthropic = () =>
  new Anthropic({ baseURL: `${world.url}/api/anthropic`, apiKey: 'placeholder', authToken: null, maxRetries: 0 });

const ASK = { model: 'glm-5.3', messages: [{ role: 'user' as const, content: 'hello [[sim tokens=40 prompt=100]]' }] };

test('the openai SDK works through it, plain, and exactly what the vendor billed is settled', async () => {
  const before = await world.used('Tokens');
  const answer = await openai().chat.completions.create(ASK);
  expect(answer.choices[0]?.message.content).toBeTruthy();
  const { prompt_tokens, completion_tokens } = answer.usage!;
  await world.quiet();
  expect((await world.used('Tokens')) - before).toBe(prompt_tokens + completion_tokens);
});

test('the openai SDK works through it, streaming', async () => {
  const before = await world.used('OutputTokens');
  const stream = await openai().chat.completions.create({ ...ASK, stream: true });
  let text = '';
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
  expect(text).not.toBe('');
  await world.quiet();
  expect((await world.used('OutputTokens')) - before).toBe(40);
});

test('the Anthropic SDK works through it, plain and streaming', async () => {
  const before = await world.used('OutputTokens');
  const plain = await anthropic().messages.create({ ...ASK, max_tokens: 100 });
  expect(plain.usage.output_tokens).toBe(40);
  const message = await anthropic()
    .messages.stream({ ...ASK, max_tokens: 100 })
    .finalMessage();
  expect(message.usage.output_tokens).toBe(40);
  await world.quiet();
  expect((await world.used('OutputTokens')) - before).toBe(80);
});

test('the Responses surface works through it', async () => {
  const client = new OpenAI({ baseURL: `${world.url}/api/v1`, apiKey: 'placeholder', maxRetries: 0 });
  const answer = await client.responses.create({ model: 'glm-5.3', input: 'hello [[sim tokens=40]]' });
  expect(answer.usage?.output_tokens).toBe(40);
  await world.quiet();
});

test('models, token counting and the monitor API pass without a lease', async () => {
  const before = await world.used('Requests');
  expect((await openai().models.list()).data.length).toBeGreaterThan(0);
  const monitor = await fetch(`${world.url}/api/monitor/usage/quota/limit`, { headers: { authorization: 'x' } });
  expect(await monitor.json()).toMatchObject({ success: true });
  expect(await world.used('Requests')).toBe(before);
});

test('a used-up limit makes both SDKs stop with a rate limit error that says when it ends', async () => {
  await using full = await World.start({ requests: 1 });
  await full.sidecar();
  const chat = new OpenAI({ baseURL: `${full.url}/api/coding/paas/v4`, apiKey: 'placeholder' });
  await chat.chat.completions.create(ASK);
  const refused = await chat.chat.completions.create(ASK).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(OpenAI.RateLimitError);
  expect((refused as InstanceType<typeof OpenAI.RateLimitError>).headers?.get('x-glmquota-retry-at')).toMatch(
    /^\d{4}-/,
  );
  const messages = new Anthropic({ baseURL: `${full.url}/api/anthropic`, apiKey: 'placeholder', authToken: null });
  const stopped = await messages.messages.create({ ...ASK, max_tokens: 10 }).catch((error: unknown) => error);
  expect(stopped).toBeInstanceOf(Anthropic.RateLimitError);
  const report = await full.control.report();
  expect(report.calls).toBe(1);
});
