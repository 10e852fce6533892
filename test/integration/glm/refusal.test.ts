import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { refuseDenial, refuseUnavailable, type Refusal } from '#sidecar/glm/refusal.ts';
import type { Denial } from '#sidecar/leases/terms.ts';

/** The official SDKs as judges of what a refusal makes its clients do. */
let server: Server;
let origin = '';
let answer: Refusal;
let requests = 0;

beforeAll(async () => {
  server = createServer((request, response) => {
    requests++;
    request.resume();
    response.writeHead(answer.status, { ...answer.headers }).end(answer.body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server.close());
beforeEach(() => {
  requests = 0;
});

const NOW = Date.parse('2026-11-21T10:00:00Z');
const denial: Denial = {
  kind: 'denied',
  reason: 'Window',
  node: 'account',
  limit: 'weekly',
  used: 10,
  amount: 10,
  retryAtMs: NOW + 86_400_000,
};
const messages = [{ role: 'user' as const, content: 'hi' }];

const failed = async (call: Promise<unknown>): Promise<unknown> => {
  try {
    await call;
  } catch (error) {
    return error;
  }
  throw new Error('the call went through');
};

const openAi = () => new OpenAI({ apiKey: 'x', baseURL: `${origin}/api/coding/paas/v4`, maxRetries: 2 });
const clients = {
  OpenAI: () => openAi().chat.completions.create({ model: 'glm-5.3', messages }),
  Responses: () => openAi().responses.create({ model: 'glm-5.3', input: 'hi' }),
  Anthropic: () =>
    new Anthropic({ apiKey: 'x', baseURL: `${origin}/api/anthropic`, maxRetries: 2 }).messages.create({
      model: 'glm-5.3',
      max_tokens: 9,
      messages,
    }),
} as const;
const surfaces = ['OpenAI', 'Anthropic', 'Responses'] as const;

describe.each(surfaces)('the SDK of the %s surface', (surface) => {
  test('gives up at once on a limit whose reset is far, as a rate limit with our message', async () => {
    answer = refuseDenial(surface, denial, NOW);
    const error = await failed(clients[surface]());
    expect(error).toBeInstanceOf(surface === 'Anthropic' ? Anthropic.RateLimitError : OpenAI.RateLimitError);
    expect(error).toMatchObject({ message: expect.stringContaining('weekly of account is used up') as string });
    expect(requests).toBe(1);
  });

  test('comes back by itself after a short wait', async () => {
    answer = refuseDenial(surface, { ...denial, reason: 'Concurrency', retryAtMs: NOW + 5 }, NOW);
    await failed(clients[surface]());
    expect(requests).toBe(3);
  });

  test('comes back by itself when the store is away', async () => {
    answer = refuseUnavailable(surface, 'Redis cannot be reached');
    const error = await failed(clients[surface]());
    expect(error).toMatchObject({ status: 503, message: expect.stringContaining('Redis cannot be reached') as string });
    expect(requests).toBe(3);
  });
});
