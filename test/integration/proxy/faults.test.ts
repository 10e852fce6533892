import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { RawVendor, startGateway, type TestGateway, until } from './fixture.ts';

const CHAT = '/api/coding/paas/v4/chat/completions';
const BODY = '{"model":"glm-5.3","messages":[],"max_tokens":100}';
const STREAM_HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n';
const FRAME = 'data: {"model":"glm-5.3","choices":[{"delta":{"content":"word"}}]}\n\n';
const chunked = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;

const call = (gateway: TestGateway, init: RequestInit = {}) =>
  fetch(gateway.url + CHAT, { method: 'POST', body: BODY, ...init });

async function settlement(gateway: TestGateway) {
  await until(() => gateway.engine.settled.length === 1);
  return gateway.engine.settled[0]!;
}

test('a vendor that resets before its first byte is a 502 and refunds the windows', async () => {
  await using vendor = await RawVendor.start();
  vendor.onRequest = (socket) => void socket.resetAndDestroy();
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  const response = await call(gateway);
  expect(response.status).toBe(502);
  expect(await response.json()).toMatchObject({ error: { type: 'server_error' } });
  expect((await settlement(gateway)).outcome).toBe('failedBeforeFirstByte');
});

test('a vendor that cannot be reached is a 502 and costs nothing at all', async () => {
  await using gateway = await startGateway({ upstream: { origin: 'http://127.0.0.1:1' } });
  const response = await call(gateway);
  expect(response.status).toBe(502);
  expect(await response.text()).not.toContain('secret-key');
  expect(await settlement(gateway)).toMatchObject({ outcome: 'neverSent', actual: { requests: 0 } });
});

test('a vendor that says nothing for too long is a 504', async () => {
  await using vendor = await RawVendor.start();
  vendor.onRequest = () => undefined;
  await using gateway = await startGateway({ upstream: { origin: vendor.origin }, idleMs: 300 });
  expect((await call(gateway)).status).toBe(504);
  expect((await settlement(gateway)).outcome).toBe('failedBeforeFirstByte');
});

test('a vendor that resets in the middle of its stream cuts the client off, charged by what was seen', async () => {
  await using vendor = await RawVendor.start();
  vendor.onRequest = (socket) => {
    socket.write(STREAM_HEAD + chunked(FRAME) + chunked(FRAME));
    setTimeout(() => socket.resetAndDestroy(), 50);
  };
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  const response = await call(gateway);
  const failed = await response.text().catch((error: unknown) => error);
  expect(failed).toBeInstanceOf(Error);
  const { outcome, actual } = await settlement(gateway);
  expect(outcome).toBe('brokeMidStream');
  expect(actual).toMatchObject({ requests: 1, outputTokens: 2 });
  expect(actual.inputTokens).toBeGreaterThan(0);
});

test('a vendor that falls silent in the middle of its stream cuts the client off', async () => {
  await using vendor = await RawVendor.start();
  vendor.onRequest = (socket) => void socket.write(STREAM_HEAD + chunked(FRAME));
  await using gateway = await startGateway({ upstream: { origin: vendor.origin }, idleMs: 300 });
  const failed = await (await call(gateway)).text().catch((error: unknown) => error);
  expect(failed).toBeInstanceOf(Error);
  expect((await settlement(gateway)).outcome).toBe('brokeMidStream');
});

test('a response shorter than its stated length does not look complete', async () => {
  await using vendor = await RawVendor.start();
  vendor.onRequest = (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"model":');
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  const failed = await (await call(gateway)).text().catch((error: unknown) => error);
  expect(failed).toBeInstanceOf(Error);
  expect((await settlement(gateway)).outcome).toBe('brokeMidStream');
});

test('a client that leaves mid-stream ends the call at the vendor, is charged, and holds its slot', async () => {
  await using vendor = await RawVendor.start();
  let closed = false;
  vendor.onRequest = (socket) => {
    socket.on('close', () => (closed = true));
    socket.write(STREAM_HEAD + chunked(FRAME));
  };
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  const gone = new AbortController();
  const response = await call(gateway, { signal: gone.signal });
  await response.body!.getReader().read();
  gone.abort();
  await until(() => closed);
  expect(await settlement(gateway)).toMatchObject({ outcome: 'brokeMidStream', holdMs: 2000 });
});

test('a client that leaves after the last frame ends a whole call, once the vendor has ended it', async () => {
  await using vendor = await RawVendor.start();
  const { promise: ending, resolve: endNow } = Promise.withResolvers<void>();
  let closed = false;
  vendor.onRequest = (socket) => {
    socket.on('close', () => (closed = true));
    socket.write(STREAM_HEAD + chunked(FRAME) + chunked('data: [DONE]\n\n'));
    void ending.then(() => socket.write('0\r\n\r\n'));
  };
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  const gone = new AbortController();
  const reader = (await call(gateway, { signal: gone.signal })).body!.getReader();
  let text = '';
  while (!text.includes('[DONE]')) text += Buffer.from((await reader.read()).value!).toString();
  gone.abort();
  await until(() => gateway.active === 0);
  expect(gateway.engine.settled).toEqual([]);
  expect(closed).toBe(false);
  endNow();
  expect((await settlement(gateway)).outcome).toBe('completed');
});

test('a vendor that does not end its response after the last frame gives the slot back all the same', async () => {
  await using vendor = await RawVendor.start();
  let closed = false;
  vendor.onRequest = (socket) => {
    socket.on('close', () => (closed = true));
    socket.write(STREAM_HEAD + chunked(FRAME) + chunked('data: [DONE]\n\n'));
  };
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  const gone = new AbortController();
  const reader = (await call(gateway, { signal: gone.signal })).body!.getReader();
  let text = '';
  while (!text.includes('[DONE]')) text += Buffer.from((await reader.read()).value!).toString();
  gone.abort();
  expect((await settlement(gateway)).outcome).toBe('completed');
  await until(() => closed);
});

test('a client that leaves before the vendor answers ends the call there too', async () => {
  await using vendor = await RawVendor.start();
  let closed = false;
  vendor.onRequest = (socket) => void socket.on('close', () => (closed = true));
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  const gone = new AbortController();
  const failed = call(gateway, { signal: gone.signal }).catch((error: unknown) => error);
  await until(() => vendor.text !== '');
  gone.abort();
  await failed;
  await until(() => closed);
  const { outcome, actual } = await settlement(gateway);
  expect(outcome).toBe('brokeMidStream');
  expect(actual).toEqual(gateway.engine.asked[0]?.reserve);
});

test('a stream that ends without its last frame is charged by the usage after its output', async () => {
  await using vendor = await RawVendor.start();
  const usage = 'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":20}}\n\n';
  const body = FRAME.repeat(50) + usage;
  vendor.onRequest = (socket) => void socket.write(`${STREAM_HEAD + chunked(body)}0\r\n\r\n`);
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  await (await call(gateway)).text();
  const { outcome, actual } = await settlement(gateway);
  expect(outcome).toBe('completed');
  expect(actual).toMatchObject({ inputTokens: 7, outputTokens: 20 });
});

test('a whole answer in an encoding nobody can read is charged its reservation', async () => {
  await using vendor = await RawVendor.start();
  const head = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: secret\r\n';
  vendor.onRequest = (socket) => void socket.write(`${head}Content-Length: 3\r\n\r\nabc`);
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  await (await call(gateway)).text();
  const { outcome, actual } = await settlement(gateway);
  expect(outcome).toBe('completed');
  expect(actual).toEqual(gateway.engine.asked[0]?.reserve);
});

test('a client that leaves while Redis is asked costs nothing', async () => {
  await using gateway = await startGateway({ upstream: { origin: 'http://127.0.0.1:1' } });
  const asked = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  gateway.engine.onAcquire = async (request) => {
    asked.resolve();
    await gate.promise;
    return gateway.engine.grant(request.id);
  };
  const gone = new AbortController();
  const failed = call(gateway, { signal: gone.signal }).catch((error: unknown) => error);
  await asked.promise;
  gone.abort();
  await failed;
  await until(() => gateway.active === 0);
  gate.resolve();
  await until(() => gateway.engine.cancelled.length === 1);
  expect(await gateway.metrics()).toContain('glmquota_calls_total{ended="clientGone"} 1');
});

test('a client that leaves before its body is complete asks Redis for nothing', async () => {
  await using gateway = await startGateway({ upstream: { origin: 'http://127.0.0.1:1' } });
  const socket = connect(gateway.port, '127.0.0.1');
  socket.write(`POST ${CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"model"`);
  await until(async () => (await once(socket, 'connect').catch(() => undefined), true));
  socket.destroy();
  await until(async () => (await gateway.metrics()).includes('glmquota_calls_total{ended="clientGone"} 1'));
  expect(gateway.engine.asked).toEqual([]);
});

test.for([
  [429, '1302', 'refusedConcurrency'],
  [429, '1308', 'refusedQuota'],
  [400, '1214', 'rejected'],
  [500, '500', 'failedBeforeFirstByte'],
] as const)("the vendor's %i with code %s passes unchanged and settles as %s", async ([status, code, outcome]) => {
  await using vendor = await RawVendor.start();
  const body = `{"error":{"code":"${code}","message":"as the vendor said it"}}`;
  vendor.onRequest = (socket) =>
    void socket.write(
      `HTTP/1.1 ${status} Whatever\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  const response = await call(gateway);
  expect([response.status, await response.text()]).toEqual([status, body]);
  expect((await settlement(gateway)).outcome).toBe(outcome);
});

test('a reason phrase that no header may hold is left out', async () => {
  await using vendor = await RawVendor.start();
  vendor.onRequest = (socket) =>
    void socket.write(Buffer.from('HTTP/1.1 429 Trop d\xe9j\xe0\r\nContent-Length: 2\r\n\r\n{}', 'latin1'));
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  const response = await call(gateway);
  expect([response.status, await response.text()]).toEqual([429, '{}']);
  expect((await settlement(gateway)).outcome).toBe('refusedRate');
});

test('an error inside a stream that began with 200 refunds what a refusal would', async () => {
  await using vendor = await RawVendor.start();
  const frame = 'data: {"error":{"code":"1302","message":"busy"}}\n\n';
  vendor.onRequest = (socket) => void socket.write(`${STREAM_HEAD + chunked(frame)}0\r\n\r\n`);
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  expect(await (await call(gateway)).text()).toBe(frame);
  expect((await settlement(gateway)).outcome).toBe('refusedConcurrency');
});

test('a call that runs longer than its quota allows is cut', async () => {
  await using vendor = await RawVendor.start();
  vendor.onRequest = () => undefined;
  await using gateway = await startGateway({ upstream: { origin: vendor.origin }, binding: { maxRuntimeMs: 200 } });
  const response = await call(gateway);
  expect(response.status).toBe(504);
  expect(await response.text()).toContain('maxRuntime');
  expect((await settlement(gateway)).outcome).toBe('brokeMidStream');
});

test('a lease that is gone before the first byte lets nothing out', async () => {
  await using vendor = await RawVendor.start();
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  gateway.engine.onAcquire = (request) => ({ ...gateway.engine.grant(request.id), grantedAtMs: -100_000 });
  gateway.engine.onClaim = () => false;
  expect((await call(gateway)).status).toBe(503);
  expect(vendor.text).toBe('');
});
