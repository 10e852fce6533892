import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ledgerKey, readLedger } from '#sidecar/engine/ledger/read.ts';
import type { Settlement } from '#sidecar/engine/terms.ts';
import { CHAT, chatBody, NOTHING, TREE_KEY, World } from './world.ts';

const MESSAGES = '/api/anthropic/v1/messages';
const SECRET = 'the-secret-of-the-prompt';
const HEADERS = { 'content-type': 'application/json', 'x-glmquota-user': 'ann' };

let world: World;
let link: Redis;

beforeAll(async () => {
  world = await World.start({
    binding: {
      waiting: { mode: 'UntilWindow', maxWaitMs: 30_000 },
      retry: { maxAttempts: 3, baseDelayMs: 5, factorPermille: 1000, maxDelayMs: 5 },
    },
  });
  await world.sidecar();
  link = new Redis(world.redis.socketPath);
});

afterAll(async () => {
  link?.disconnect();
  await world?.[Symbol.asyncDispose]();
});

/** The settlements of one call, by its lease's id, as the ledger has them. */
async function settlementsOf(requestId: string): Promise<Settlement[]> {
  const settled: Settlement[] = [];
  for await (const entry of readLedger(link, TREE_KEY)) {
    if (entry.kind !== 'call') continue;
    if (entry.call.op === 'settle') settled.push(...entry.call.settlements);
    if (entry.call.op === 'swap') settled.push(entry.call.settlement);
  }
  return settled.filter(({ record }) => record?.requestId === requestId);
}

interface Sent {
  readonly path: string;
  readonly requestId: string;
  readonly stream: boolean;
  readonly text?: string;
}

async function send({ path, requestId, stream, text = '' }: Sent): Promise<string> {
  const body = chatBody(`${SECRET} ${text}`, { stream, max_tokens: 100 });
  const headers = { ...HEADERS, 'x-request-id': requestId };
  const response = await fetch(world.url + path, { method: 'POST', headers, body });
  expect(response.status).toBe(200);
  const answer = await response.text();
  await world.quiet();
  return answer;
}

/** What the vendor's own book says of the call. */
async function billOf(requestId: string) {
  const bills = (await world.control.calls({ clientId: requestId })).filter(({ ending }) => ending === 'Completed');
  expect(bills).toHaveLength(1);
  return bills[0]!;
}

test.each([
  { path: CHAT, surface: 'OpenAI', stream: false },
  { path: CHAT, surface: 'OpenAI', stream: true },
  { path: MESSAGES, surface: 'Anthropic', stream: false },
  { path: MESSAGES, surface: 'Anthropic', stream: true },
])('L1 the ledger tells of a call on $surface (stream: $stream) what the vendor billed', async (call) => {
  const requestId = `req-${call.surface}-${call.stream}`;
  await send({ ...call, requestId, text: '[[sim tokens=30 ms=20 ttft=10]]' });
  const bill = await billOf(requestId);

  const settled = await settlementsOf(requestId);
  expect(settled).toHaveLength(1);
  const { record, actual, outcome } = settled[0]!;
  expect(outcome).toBe('completed');
  expect(record).toEqual({
    requestId,
    user: 'ann',
    surface: call.surface,
    model: bill.model,
    status: 200,
    latencyMs: expect.any(Number),
    firstByteMs: expect.any(Number),
    attempts: 1,
    isEstimate: false,
    trace: [],
  });
  const { latencyMs, firstByteMs } = record!;
  expect(Number.isInteger(latencyMs) && Number.isInteger(firstByteMs)).toBe(true);
  expect(firstByteMs).toBeGreaterThan(0);
  // To where the vendor saw its end; both clocks are read in whole milliseconds.
  expect(latencyMs).toBeGreaterThanOrEqual(Math.floor(bill.endMs - bill.startMs) - 1);
  expect(latencyMs).toBeGreaterThanOrEqual(firstByteMs!);
  expect(actual).toMatchObject({
    requests: 1,
    inputTokens: bill.tokens.input,
    cachedTokens: bill.tokens.cached,
    outputTokens: bill.tokens.output,
    nanoCost: bill.nanoUsd,
    microCredits: bill.nanoCredits / 1000,
  });
  expect(actual.nanoCost).toBeGreaterThan(0);
});

test('L1 each try of a call is told, with its number and what the vendor answered', async () => {
  const requestId = 'req-tries';
  await world.control.addFault({ times: 1, action: { type: 'Code', code: '1302' } });
  await send({ path: CHAT, requestId, stream: true });
  const settled = await settlementsOf(requestId);
  expect(settled.map(({ outcome, record }) => [outcome, record?.status, record?.attempts])).toEqual([
    ['refusedConcurrency', 429, 1],
    ['completed', 200, 2],
  ]);
  expect(settled[0]?.actual).toMatchObject({ outputTokens: 0, nanoCost: 0 });
});

test('L1 no text of a prompt or an answer is anywhere in the ledger', async () => {
  const answer = JSON.parse(await send({ path: CHAT, requestId: 'req-text', stream: false })) as {
    choices: { message: { content: string } }[];
  };
  const words = answer.choices[0]!.message.content.trim();
  expect(words.length).toBeGreaterThan(10);
  const entries = (await link.callBuffer('XRANGE', ledgerKey(TREE_KEY), '-', '+')) as [Buffer, Buffer[]][];
  const bytes = Buffer.concat(entries.flatMap(([, fields]) => fields));
  expect(bytes.includes('req-text')).toBe(true);
  expect(bytes.includes(SECRET)).toBe(false);
  expect(bytes.includes(words.slice(0, 10))).toBe(false);
  expect(await world.remains()).toEqual(NOTHING);
});
