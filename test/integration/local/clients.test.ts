import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SimulatorControl } from '#test/support/glm-simulator/control.ts';
import { startSimulator, type Simulator } from '#test/support/glm-simulator/simulator.ts';
import { KEY, Local, quotaFile } from './fixture.ts';

let simulator: Simulator;
let control: SimulatorControl;
let local: Local;

beforeAll(async () => {
  simulator = await startSimulator({ config: { accounts: [{ id: 'a', keys: [KEY], concurrency: { default: 4 } }] } });
  control = new SimulatorControl(simulator.controlUrl);
  local = await Local.start(quotaFile({ origin: simulator.url, quota: 'concurrency: { max: 3 }' }));
});

afterAll(async () => {
  await local[Symbol.asyncDispose]();
  await simulator.close();
});

const messages = [{ role: 'user' as const, content: 'hello' }];
const openai = () =>
  new OpenAI({ baseURL: local.variable('OPENAI_BASE_URL'), apiKey: local.variable('OPENAI_API_KEY') });
const anthropic = () =>
  new Anthropic({
    baseURL: local.variable('ANTHROPIC_BASE_URL'),
    authToken: local.variable('ANTHROPIC_AUTH_TOKEN'),
    apiKey: null,
  });

test('curl gets its answer', async () => {
  const url = `${local.variable('OPENAI_BASE_URL')}/chat/completions`;
  const body = JSON.stringify({ model: 'glm-5.3', messages });
  const args = ['-sS', '--fail', '-m', '20', '-H', 'content-type: application/json', '-d', body, url];
  const { stdout } = await promisify(execFile)('curl', args);
  expect(JSON.parse(stdout)).toMatchObject({ model: 'glm-5.3', usage: { completion_tokens: 16 } });
});

test('the openai package gets whole and streamed answers', async () => {
  const whole = await openai().chat.completions.create({ model: 'glm-5.3', messages });
  expect(whole.usage?.completion_tokens).toBe(16);
  let text = '';
  const stream = await openai().chat.completions.create({ model: 'glm-5.3', messages, stream: true });
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
  expect(text).toBe(whole.choices[0]?.message.content);
});

test('the Anthropic package gets whole and streamed answers', async () => {
  const request = { model: 'glm-5.3', max_tokens: 64, messages };
  const whole = await anthropic().messages.create(request);
  expect(whole.usage.output_tokens).toBe(16);
  const streamed = await anthropic().messages.stream(request).finalMessage();
  expect(streamed.content).toEqual(whole.content);
});

test('the vendor sees the real key, and the agent never does', async () => {
  await openai().chat.completions.create({ model: 'glm-5.3', messages });
  const calls = await control.calls();
  expect(new Set(calls.map(({ account }) => account))).toEqual(new Set(['a']));
  expect(local.output + local.error).not.toContain(KEY);
});

test('a call on the path of the other billing is refused with the right one named', async () => {
  const url = `${local.variable('OPENAI_HOST')}/api/paas/v4/chat/completions`;
  const answer = await fetch(url, { method: 'POST', body: JSON.stringify({ model: 'glm-5.3', messages }) });
  expect(answer.status).toBe(403);
  expect(await answer.text()).toContain('/api/coding/paas/v4');
});
