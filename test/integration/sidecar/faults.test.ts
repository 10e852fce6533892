import { connect } from 'node:net';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CHAT, chatBody, NOTHING, PATIENT, World } from './world.ts';

let world: World;
beforeAll(async () => {
  world = await World.start({
    concurrency: 3,
    // A failed call makes the model pause, and the tests share one: they wait it out. What fails is not repeated.
    binding: { ...PATIENT, retry: { maxAttempts: 1, baseDelayMs: 1, factorPermille: 1000, maxDelayMs: 1 } },
    env: { GLMQUOTA_UPSTREAM_IDLE_MS: '1500', GLMQUOTA_BODY_LIMIT_BYTES: '100000' },
  });
  await world.sidecar();
});
afterAll(() => world[Symbol.asyncDispose]());

const post = (body: string, init: RequestInit = {}) => fetch(world.url + CHAT, { method: 'POST', body, ...init });

test('an upstream that resets before its first byte: 502, the windows are refunded', async () => {
  const before = await world.used('Requests');
  expect((await post(chatBody('[[sim fault=reset]]'))).status).toBe(502);
  expect(await world.remains()).toEqual(NOTHING);
  expect(await world.used('Requests')).toBe(before);
});

test('an upstream that resets after its first byte: the client notices, what was seen is charged', async () => {
  const before = await world.used('OutputTokens');
  const response = await post(chatBody('[[sim fault=midreset:3 tokens=400]]', { stream: true }));
  expect(await response.text().catch((error: unknown) => error)).toBeInstanceOf(Error);
  expect(await world.remains()).toEqual(NOTHING);
  const charged = (await world.used('OutputTokens')) - before;
  expect(charged).toBeGreaterThan(0);
  expect(charged).toBeLessThan(400);
});

test('an upstream that is silent: 504 after the idle time', async () => {
  expect((await post(chatBody('[[sim fault=silence]]'))).status).toBe(504);
  expect(await world.remains()).toEqual(NOTHING);
});

test('an upstream that falls silent mid-stream: the client is cut off', async () => {
  const response = await post(chatBody('[[sim fault=midsilence:2 tokens=400]]', { stream: true }));
  expect(await response.text().catch((error: unknown) => error)).toBeInstanceOf(Error);
  expect(await world.remains()).toEqual(NOTHING);
});

test('a client that leaves mid-stream: the vendor is told, the slot comes back, the part seen is charged', async () => {
  const gone = new AbortController();
  const response = await post(chatBody('[[sim midhold=wait tokens=400]]', { stream: true }), { signal: gone.signal });
  await response.body!.getReader().read();
  gone.abort();
  await world.until(async () => (await world.control.flights()).length === 0);
  expect(await world.remains()).toEqual(NOTHING);
});

test('a client that resets its connection while the vendor thinks: nothing is left behind', async () => {
  const socket = connect(world.sidecars[0]!.httpPort, '127.0.0.1');
  const body = chatBody('[[sim hold=think]]');
  socket.write(`POST ${CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  await world.until(async () => (await world.control.flights()).length === 1);
  socket.resetAndDestroy();
  await once(socket, 'close');
  await world.until(async () => (await world.control.flights()).length === 0);
  expect(await world.remains()).toEqual(NOTHING);
});

test.for([
  ['broken JSON', '{"model":', 400],
  ['no model', '{}', 400],
  ['a body above the limit', JSON.stringify({ model: 'glm-5.3', padding: 'x'.repeat(200_000) }), 413],
] as const)('%s: refused, and the vendor never hears of it', async ([, body, status]) => {
  const { calls } = await world.control.report();
  expect((await post(body)).status).toBe(status);
  expect((await world.control.report()).calls).toBe(calls);
  expect(await world.remains()).toEqual(NOTHING);
});

test('an unknown path: 404; a path of the other billing: 403 naming the right one', async () => {
  expect((await fetch(`${world.url}/api/coding/paas/v4/v4/chat/completions`, { method: 'POST' })).status).toBe(404);
  const wrong = await fetch(`${world.url}/api/paas/v4/chat/completions`, { method: 'POST', body: chatBody() });
  expect(wrong.status).toBe(403);
  expect(await wrong.text()).toContain(CHAT);
  expect(await world.remains()).toEqual(NOTHING);
});

test.for([
  ['1302', 429],
  ['1214', 400],
  ['500', 500],
] as const)("the vendor's own error %s passes as it is and is not charged", async ([code, status]) => {
  const before = await world.used('Requests');
  const response = await post(chatBody(`[[sim fault=code:${code}]]`));
  expect(response.status).toBe(status);
  expect(await response.json()).toMatchObject({ error: { code } });
  expect(await world.remains()).toEqual(NOTHING);
  expect(await world.used('Requests')).toBe(before);
});

test("the vendor's word that a window is used up passes as it is, and closes the account until it opens", async () => {
  await using frozen = await World.start();
  await frozen.sidecar();
  const send = (text: string) => fetch(frozen.url + CHAT, { method: 'POST', body: chatBody(text) });
  const response = await send('[[sim fault=code:1308]]');
  expect([response.status, await response.json()]).toMatchObject([429, { error: { code: '1308' } }]);
  expect(await frozen.remains()).toEqual(NOTHING);
  expect(await frozen.used('Requests')).toBe(0);
  const next = await send('');
  expect([next.status, next.headers.get('x-glmquota-denied-by')]).toEqual([429, 'account/vendor']);
  expect((await frozen.control.report()).refused).toEqual({ 1308: 1 });
});

test('the key never reaches the client, in no answer and no header', async () => {
  for (const text of ['', '[[sim fault=reset]]', '[[sim fault=code:1302]]', '[[sim fault=http:503]]']) {
    const response = await post(chatBody(text));
    const seen = JSON.stringify([...response.headers]) + (await response.text());
    expect(seen).not.toContain('real-secret');
  }
  expect(world.sidecars[0]!.lines.join('\n')).not.toContain('real-secret');
  expect(await world.remains()).toEqual(NOTHING);
});

test('Redis away: calls get 503 in their surface, running streams go on, and all is right when it is back', async () => {
  const running = await post(chatBody('[[sim midhold=over tokens=40]]', { stream: true }));
  const reader = running.body!.getReader();
  await reader.read();
  await world.redis.stop();
  const refused = await post(chatBody(), { headers: { 'x-glmquota-max-wait': '0' } });
  expect(refused.status).toBe(503);
  expect(await refused.json()).toMatchObject({ error: { code: 'glmquota_unavailable' } });
  await world.control.release('over');
  for (let part = await reader.read(); !part.done; part = await reader.read());
  await world.redis.restart();
  await world.until(async () => (await post(chatBody())).status === 200);
  expect(await world.remains()).toEqual(NOTHING);
});
