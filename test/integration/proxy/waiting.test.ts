import { expect, test } from 'vitest';
import { RawVendor, startGateway, type TestGateway, until } from './fixture.ts';

const CHAT = '/api/coding/paas/v4/chat/completions';
const BODY = '{"model":"glm-5.3","messages":[]}';
const PATIENT = {
  waiting: { mode: 'UntilWindow', maxWaitMs: 30_000 },
  retry: { maxAttempts: 1, baseDelayMs: 1, factorPermille: 1000, maxDelayMs: 1 },
} as const;
const NOWHERE = { origin: 'http://127.0.0.1:1' };

const call = (gateway: TestGateway, init: RequestInit = {}) =>
  fetch(gateway.url + CHAT, { method: 'POST', body: BODY, ...init });

test('a call that waits is sent when its grant is pushed', async () => {
  await using vendor = await RawVendor.start();
  vendor.onRequest = (socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}');
  await using gateway = await startGateway({ upstream: { origin: vendor.origin }, binding: PATIENT });
  gateway.engine.queueFirst(1);
  const response = call(gateway);
  await until(() => gateway.engine.listening === 1);
  expect(vendor.text).toBe('');
  gateway.engine.pushGrant(gateway.engine.asked[0]!.id);
  expect((await response).status).toBe(200);
});

test('T2 a call whose slot went to another before it was sent asks for the next one', async () => {
  await using vendor = await RawVendor.start();
  vendor.onRequest = (socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}');
  const binding = { ...PATIENT, durability: 'Strict' } as const;
  await using gateway = await startGateway({ upstream: { origin: vendor.origin }, binding });
  gateway.engine.onClaim = () => gateway.engine.claims > 1;
  expect((await call(gateway, { headers: { 'x-glmquota-max-wait': '20s' } })).status).toBe(200);
  const [first, second] = gateway.engine.asked;
  expect(second?.id).not.toBe(first?.id);
  expect(second?.wait.maxWaitMs).toBeLessThanOrEqual(20_000);
  expect(gateway.engine.settled[0]).toMatchObject({ id: first?.id, outcome: 'neverSent' });
});

test('T2 a call whose slot went to another twice is refused as for a Redis that is away', async () => {
  await using gateway = await startGateway({ upstream: NOWHERE, binding: { ...PATIENT, durability: 'Strict' } });
  gateway.engine.onClaim = () => false;
  expect((await call(gateway)).status).toBe(503);
  expect(gateway.engine.asked).toHaveLength(2);
});

test('T5 a client that leaves the queue is cancelled with its place kept, and the same request names the same place', async () => {
  await using gateway = await startGateway({ upstream: NOWHERE, binding: PATIENT });
  gateway.engine.queueFirst(1);
  const gone = new AbortController();
  const failed = call(gateway, { signal: gone.signal }).catch((reason: unknown) => reason);
  await until(() => gateway.engine.listening === 1);
  gone.abort();
  await failed;
  await until(() => gateway.engine.kept.length === 1);
  await (await call(gateway)).text();
  await (await call(gateway, { body: '{"model":"glm-5.3","messages":[1]}' })).text();
  const [first, second, other] = gateway.engine.asked.map(({ place }) => place);
  expect(second).toBe(first);
  expect(other).not.toBe(first);
});

test("a client's headers narrow its call; the vendor never sees them", async () => {
  await using vendor = await RawVendor.start();
  vendor.onRequest = (socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}');
  const binding = { ...PATIENT, attributes: { pool: 'reviewers' } };
  await using gateway = await startGateway({ upstream: { origin: vendor.origin }, binding });
  const headers = { 'x-glmquota-priority': 'Low', 'x-glmquota-tool': 'lint', 'x-glmquota-max-wait': '2s' };
  expect((await call(gateway, { headers })).status).toBe(200);
  expect(gateway.engine.asked[0]).toMatchObject({
    class: 'Low',
    attributes: { tool: 'lint', pool: 'reviewers' },
  });
  expect(gateway.engine.asked[0]?.wait.maxWaitMs).toBeLessThanOrEqual(2000);
  expect(vendor.text.toLowerCase()).not.toContain('x-glmquota');
});

test('a claim that cannot be read is a 400 that names the header', async () => {
  await using gateway = await startGateway({ upstream: NOWHERE });
  const response = await call(gateway, { headers: { 'x-glmquota-priority': 'urgent' } });
  expect([response.status, await response.text()]).toEqual([400, expect.stringContaining('x-glmquota-priority')]);
});

test('a grant past a threshold says so in the response, beside what the vendor sent', async () => {
  await using vendor = await RawVendor.start();
  vendor.onRequest = (socket) =>
    void socket.write('HTTP/1.1 200 OK\r\nx-glmquota-warning: forged\r\nX-Own: 1\r\nContent-Length: 2\r\n\r\n{}');
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  const warnings = [{ node: 'quota:team/a', limit: 'five-hour', percent: 82 }];
  gateway.engine.onAcquire = ({ id }) => gateway.engine.grant(id, { warnings });
  const response = await call(gateway);
  expect(response.headers.get('x-glmquota-warning')).toBe('quota:team/a/five-hour;percent=82');
  expect(response.headers.get('x-own')).toBe('1');
});

test('a call past its wait is refused with the reason the engine gives', async () => {
  await using gateway = await startGateway({ upstream: NOWHERE, binding: PATIENT });
  gateway.engine.onAcquire = ({ id, wait }) =>
    wait.maxWaitMs > 0 ? gateway.engine.queued(id) : gateway.engine.denied({ reason: 'Waiting', limit: 'queue' });
  const response = await call(gateway, { headers: { 'x-glmquota-max-wait': '50ms' } });
  expect([response.status, response.headers.get('retry-after')]).toEqual([429, '2']);
  expect(await response.json()).toMatchObject({ error: { code: 'glmquota_waiting' } });
});
