import type { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { AppError } from '#sidecar/base/errors.ts';
import { exchange, RawVendor, startGateway, until } from './fixture.ts';

const CHAT = '/api/coding/paas/v4/chat/completions';
const MESSAGES = '/api/anthropic/v1/messages';
const JSON_BODY = '{"model":"glm-5.3","messages":[]}';

/** No vendor is there: whatever got past the gateway would be a 502. */
const NOWHERE = { origin: 'http://127.0.0.1:1' };

async function post(url: string, body: string, headers: Record<string, string> = {}) {
  const response = await fetch(url, { method: 'POST', body, headers });
  return {
    status: response.status,
    headers: response.headers,
    json: (await response.json()) as Record<string, unknown>,
  };
}

test('a call that does not fit is refused with the limit and the time to come back, in the shape of its surface', async () => {
  await using gateway = await startGateway({ upstream: NOWHERE });
  gateway.engine.onAcquire = () => ({
    kind: 'denied',
    reason: 'Window',
    node: 'quota:team/a',
    limit: 'five-hour',
    used: 10,
    amount: 10,
    retryAtMs: 3_600_000,
    serverNowMs: 0,
  });
  const chat = await post(gateway.url + CHAT, JSON_BODY);
  expect(chat.status).toBe(429);
  expect(chat.json).toMatchObject({ error: { code: 'glmquota_window', type: 'rate_limit_error' } });
  expect(chat.headers.get('x-glmquota-denied-by')).toBe('quota:team/a/five-hour');
  expect(chat.headers.get('x-should-retry')).toBe('false');
  const retryAtMs = Date.parse(chat.headers.get('x-glmquota-retry-at') ?? '');
  expect(Math.abs(retryAtMs - Date.now() - 3_600_000)).toBeLessThan(60_000);
  const messages = await post(gateway.url + MESSAGES, JSON_BODY);
  expect(messages.json).toMatchObject({ type: 'error', error: { type: 'rate_limit_error' } });
  expect(messages.headers.get('anthropic-ratelimit-unified-status')).toBe('rejected');
});

test('without configuration or without Redis calls get 503', async () => {
  await using unconfigured = await startGateway({ upstream: NOWHERE, configured: false });
  expect(await post(unconfigured.url + MESSAGES, JSON_BODY)).toMatchObject({ status: 503, json: { type: 'error' } });
  await using gateway = await startGateway({ upstream: NOWHERE });
  gateway.engine.down = true;
  const refused = await post(gateway.url + CHAT, JSON_BODY);
  expect(refused).toMatchObject({ status: 503, json: { error: { code: 'glmquota_unavailable' } } });
  expect(refused.headers.get('retry-after')).toBe('1');
});

test('a pod that the operator refuses is told why, and not to try again', async () => {
  const refused = new AppError('forbidden', 'QuotaNotGranted: GLMQuota glm/team-a does not admit you');
  await using gateway = await startGateway({ upstream: NOWHERE, configured: false, refused });
  const answer = await post(gateway.url + MESSAGES, JSON_BODY);
  expect(answer).toMatchObject({ status: 403, json: { error: { message: refused.message } } });
  expect(answer.headers.get('x-should-retry')).toBe('false');
});

test.for([
  ['POST', '/api/coding/paas/v4/embeddings'],
  ['POST', '/'],
  ['DELETE', CHAT],
  ['POST', '/api/coding/paas/v4/../v4/chat/completions'],
  ['GET', '/api/monitor/../biz/subscription/list'],
  ['GET', '/api/monitor/%2e%2e/biz'],
  ['POST', '/api/anthropic//v1/messages'],
  ['GET', '/metrics'],
] as const)('%s %s is not forwarded: 404', async ([method, path]) => {
  await using gateway = await startGateway({ upstream: NOWHERE });
  const answer = await exchange(gateway.port, `${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  expect(answer).toMatch(/^HTTP\/1\.1 404 /);
  expect(answer).toContain('glmquota does not forward');
});

test('a path of the other billing gets 403 naming the right one', async () => {
  await using gateway = await startGateway({ upstream: NOWHERE });
  const wrong = await post(`${gateway.url}/api/paas/v4/chat/completions`, JSON_BODY);
  expect(wrong.status).toBe(403);
  expect(JSON.stringify(wrong.json)).toContain(CHAT);
});

test.for(['', '{', '[]', '"text"', '{"messages":[]}', '{"model":"a","model":"b"}', '\u0000'])(
  'a body that is no call (%j) gets 400 and asks Redis for nothing',
  async (body) => {
    await using gateway = await startGateway({ upstream: NOWHERE });
    expect(await post(gateway.url + CHAT, body)).toMatchObject({
      status: 400,
      json: { error: { code: 'glmquota_invalid' } },
    });
    expect(await post(gateway.url + MESSAGES, body)).toMatchObject({ status: 400, json: { type: 'error' } });
    expect(gateway.engine.asked).toEqual([]);
  },
);

test('a body above the limit gets 413, whether its length is stated or not', async () => {
  await using gateway = await startGateway({ upstream: NOWHERE, bodyLimitBytes: 1000 });
  const large = JSON.stringify({ model: 'm', padding: 'x'.repeat(2000) });
  expect(await post(gateway.url + CHAT, large)).toMatchObject({
    status: 413,
    json: { error: { code: 'glmquota_tooLarge' } },
  });
  const chunked = `${large.length.toString(16)}\r\n${large}\r\n0\r\n\r\n`;
  const head = `POST ${MESSAGES} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`;
  const answer = await exchange(gateway.port, head + chunked);
  expect(answer).toMatch(/^HTTP\/1\.1 413 /);
  expect(answer).toContain('request_too_large');
  expect(gateway.engine.asked).toEqual([]);
});

test('bodies that together exceed what may be kept get 503 until a call before them is over', async () => {
  await using vendor = await RawVendor.start();
  await using gateway = await startGateway({ upstream: { origin: vendor.origin }, bodyLimitBytes: 1000 });
  const waiting: Socket[] = [];
  vendor.onRequest = (socket) => void waiting.push(socket);
  const body = JSON.stringify({ model: 'glm-5.3', padding: 'x'.repeat(900) });
  const calls = [1, 2, 3, 4].map(() => post(gateway.url + CHAT, body));
  await until(() => waiting.length === 4);
  expect(await post(gateway.url + MESSAGES, body)).toMatchObject({
    status: 503,
    json: { type: 'error', error: { type: 'overloaded_error' } },
  });
  for (const socket of waiting) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}');
  await Promise.all(calls);
  vendor.onRequest = (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}');
  await until(async () => (await post(gateway.url + CHAT, body)).status === 200);
});

test('a client that would wait for 100 Continue with a body above the limit is refused at once', async () => {
  await using gateway = await startGateway({ upstream: NOWHERE, bodyLimitBytes: 1000 });
  const head = `POST ${CHAT} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n`;
  expect(await exchange(gateway.port, head)).toMatch(/^HTTP\/1\.1 413 /);
});

test.for([
  ['two lengths', `POST ${CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}`],
  [
    'length and chunks',
    `POST ${CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  ],
  ['an odd transfer encoding', `POST ${CHAT} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n`],
  ['a bare line feed', `POST ${CHAT} HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}`],
  ['no host', `POST ${CHAT} HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}`],
  [
    'an absolute target',
    `POST http://elsewhere.example${CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}`,
  ],
  ['an asterisk', 'OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'],
] as const)('a request with %s is refused', async ([, bytes]) => {
  await using vendor = await RawVendor.start();
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  const answer = await exchange(gateway.port, bytes);
  expect(answer).toMatch(/^HTTP\/1\.1 400 /);
  expect(vendor.text).toBe('');
});

test('the monitor API and the list of models pass without a lease', async () => {
  await using vendor = await RawVendor.start();
  vendor.onRequest = (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}');
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  for (const path of ['/api/monitor/usage/quota/limit?type=2', '/api/coding/paas/v4/models']) {
    expect((await fetch(gateway.url + path, { headers: { authorization: 'raw' } })).status).toBe(200);
  }
  expect(vendor.text).toContain('GET /api/monitor/usage/quota/limit?type=2 HTTP/1.1');
  expect(vendor.text).toContain('authorization: secret-key\r\n');
  expect(gateway.engine.asked).toEqual([]);
  expect(await gateway.metrics()).toContain('glmquota_calls_total{ended="passed"} 2');
});
