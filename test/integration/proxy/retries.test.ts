import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import { RawVendor, startGateway, type TestGateway, until } from './fixture.ts';

const CHAT = '/api/coding/paas/v4/chat/completions';
const BODY = '{"model":"glm-5.3","messages":[{"role":"user","content":"same"}],"max_tokens":100}';
const ANSWER =
  '{"model":"glm-5.3","choices":[{"message":{"content":"ok"}}],"usage":{"prompt_tokens":7,"completion_tokens":3}}';

const call = (gateway: TestGateway, init: RequestInit = {}) =>
  fetch(gateway.url + CHAT, { method: 'POST', body: BODY, ...init });

const http = (status: number, body: string | Buffer, headers = ''): string =>
  `HTTP/1.1 ${status} As Told\r\nContent-Type: application/json\r\nX-Vendor: ${status}\r\n${headers}Content-Length: ${body.length}\r\n\r\n`;
const error = (code: string, message = 'as the vendor said it'): string => JSON.stringify({ error: { code, message } });

/** A vendor that gives these answers one after the other, the last one for ever. */
async function vendorOf(...answers: readonly (readonly [status: number, body: string])[]) {
  const vendor = await RawVendor.start();
  const requests: string[] = [];
  vendor.onRequest = (socket, text) => {
    const [status, body] = answers[Math.min(requests.length, answers.length - 1)]!;
    requests.push(text);
    socket.write(http(status, body) + body);
  };
  return { vendor, requests };
}

/** Delays are short, because these clocks are real. */
const PATIENT: Partial<SidecarSnapshot['binding']> = {
  waiting: { mode: 'UntilWindow', maxWaitMs: 30_000 },
  retry: { maxAttempts: 3, baseDelayMs: 5, factorPermille: 1000, maxDelayMs: 5 },
};

const gatewayTo = (vendor: RawVendor, binding = PATIENT) =>
  startGateway({ upstream: { origin: vendor.origin }, binding });

test.each([
  [429, '1302', 'refusedConcurrency'],
  [429, '1303', 'refusedRate'],
  [529, '1305', 'refusedOverload'],
  [500, '500', 'failedBeforeFirstByte'],
] as const)(
  'Q7 a %i with code %s is sent again, and the client sees only the answer',
  async (status, code, outcome) => {
    const { vendor, requests } = await vendorOf([status, error(code)], [200, ANSWER]);
    await using _ = vendor;
    await using gateway = await gatewayTo(vendor);
    const response = await call(gateway);
    expect([response.status, await response.text(), response.headers.get('x-vendor')]).toEqual([200, ANSWER, '200']);
    await until(() => gateway.engine.settled.length === 2);
    expect(gateway.engine.settled.map((each) => each.outcome)).toEqual([outcome, 'completed']);
    expect(gateway.engine.swaps[0]?.next.id).toBe(gateway.engine.asked[0]?.id);
    // Byte for byte the same request.
    expect(requests[1]).toBe(requests[0]);
    expect(requests[0]).toContain('secret-key');
  },
);

test('Q7 when all tries are refused the client gets the last answer as the vendor sent it', async () => {
  const { vendor, requests } = await vendorOf(
    [429, error('1302', 'first')],
    [429, error('1302', 'second')],
    [529, error('1305', 'third')],
  );
  await using _ = vendor;
  await using gateway = await gatewayTo(vendor);
  const response = await call(gateway);
  expect([response.status, await response.text()]).toEqual([529, error('1305', 'third')]);
  expect([response.statusText, response.headers.get('x-vendor')]).toEqual(['As Told', '529']);
  expect(requests).toHaveLength(3);
  expect(await gateway.metrics()).toContain('glmquota_calls_total{ended="refusedOverload"} 1');
});

test.each([
  [400, '1214'],
  [401, '1000'],
  [429, '1113'],
] as const)('a %i with code %s is not sent again', async (status, code) => {
  const { vendor, requests } = await vendorOf([status, error(code)]);
  await using _ = vendor;
  await using gateway = await gatewayTo(vendor);
  const response = await call(gateway);
  expect([response.status, await response.text(), requests.length]).toEqual([status, error(code), 1]);
  await until(() => gateway.engine.settled.length === 1);
});

test('a used-up window that opens too late is told as it is, and freezes the account until then', async () => {
  const reset = new Date(Date.now() + 3_600_000 + 8 * 3_600_000).toISOString().slice(0, 19).replace('T', ' ');
  const { vendor, requests } = await vendorOf([429, error('1308', `Your limit will reset at ${reset}`)]);
  await using _ = vendor;
  await using gateway = await gatewayTo(vendor);
  expect((await call(gateway)).status).toBe(429);
  expect(requests).toHaveLength(1);
  await until(() => gateway.engine.settled.length === 1);
  const { outcome, frozenUntilMs } = gateway.engine.settled[0]!;
  expect(outcome).toBe('refusedQuota');
  expect(Math.abs((frozenUntilMs ?? 0) - Date.now() - 3_603_000)).toBeLessThan(60_000);
});

test('a used-up window that opens within the wait is waited for', async () => {
  const reset = new Date(Date.now() + 8 * 3_600_000).toISOString().slice(0, 19).replace('T', ' ');
  const { vendor, requests } = await vendorOf([429, error('1308', `Your limit will reset at ${reset}`)], [200, ANSWER]);
  await using _ = vendor;
  await using gateway = await gatewayTo(vendor);
  expect((await call(gateway)).status).toBe(200);
  expect(requests).toHaveLength(2);
});

test('a quota that does not wait passes refusals on as they come', async () => {
  const { vendor, requests } = await vendorOf([429, error('1302')]);
  await using _ = vendor;
  await using gateway = await gatewayTo(vendor, {});
  expect((await call(gateway)).status).toBe(429);
  expect(requests).toHaveLength(1);
});

test('Q7 a call that is not admitted again gets the vendor’s answer, not ours', async () => {
  const { vendor } = await vendorOf([429, error('1302')]);
  await using _ = vendor;
  await using gateway = await gatewayTo(vendor);
  gateway.engine.onSwap = () => {
    gateway.engine.onAcquire = () => gateway.engine.denied({ reason: 'Frozen' });
  };
  const response = await call(gateway);
  expect([response.status, await response.text()]).toEqual([429, error('1302')]);
  expect(response.headers.has('x-glmquota-denied-by')).toBe(false);
});

test('a lease lost before the second try: the first answer is passed on', async () => {
  const { vendor, requests } = await vendorOf([429, error('1302')]);
  await using _ = vendor;
  await using gateway = await gatewayTo(vendor, { ...PATIENT, durability: 'Strict' });
  gateway.engine.onSwap = () => {
    gateway.engine.onClaim = () => false;
  };
  expect((await call(gateway)).status).toBe(429);
  expect(requests).toHaveLength(1);
});

test('a vendor that resets before its first byte is tried again', async () => {
  await using vendor = await RawVendor.start();
  let requests = 0;
  vendor.onRequest = (socket) =>
    ++requests === 1 ? void socket.resetAndDestroy() : void socket.write(http(200, ANSWER) + ANSWER);
  await using gateway = await gatewayTo(vendor);
  expect((await call(gateway)).status).toBe(200);
  expect(gateway.engine.settled[0]?.outcome).toBe('failedBeforeFirstByte');
});

test('a vendor that cannot be reached at all is a 502 after all tries', async () => {
  await using gateway = await startGateway({ upstream: { origin: 'http://127.0.0.1:1' }, binding: PATIENT });
  expect((await call(gateway)).status).toBe(502);
  await until(() => gateway.engine.settled.length === 3);
  expect(new Set(gateway.engine.settled.map(({ outcome }) => outcome))).toEqual(new Set(['neverSent']));
});

test('nothing is sent again once a byte of the answer has reached the client', async () => {
  await using vendor = await RawVendor.start();
  let requests = 0;
  vendor.onRequest = (socket) => {
    requests++;
    socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');
    const frame = 'data: {"error":{"code":"1302","message":"busy"}}\n\n';
    socket.write(`${frame.length.toString(16)}\r\n${frame}\r\n0\r\n\r\n`);
  };
  await using gateway = await gatewayTo(vendor);
  expect(await (await call(gateway)).text()).toContain('1302');
  expect(requests).toBe(1);
});

test('an error longer than errors are is passed on as it comes', async () => {
  const { vendor, requests } = await vendorOf([500, error('500', 'x'.repeat(200_000))]);
  await using _ = vendor;
  await using gateway = await gatewayTo(vendor);
  expect(await (await call(gateway)).text()).toBe(error('500', 'x'.repeat(200_000)));
  expect(requests).toHaveLength(1);
});

test('a compressed refusal is understood, and passed on as it was when it is the last', async () => {
  await using vendor = await RawVendor.start();
  const body = gzipSync(error('1302'));
  let requests = 0;
  vendor.onRequest = (socket) => {
    requests++;
    socket.write(http(429, body, 'Content-Encoding: gzip\r\n'));
    socket.write(body);
  };
  await using gateway = await gatewayTo(vendor);
  const response = await call(gateway);
  expect([response.status, await response.text(), requests]).toEqual([429, error('1302'), 3]);
});

test('T5 a client that leaves while its call waits to be sent again leaves nothing behind', async () => {
  const { vendor, requests } = await vendorOf([429, error('1302')]);
  await using _ = vendor;
  await using gateway = await gatewayTo(vendor);
  gateway.engine.onSwap = () => {
    gateway.engine.onAcquire = ({ id }) => gateway.engine.queued(id);
  };
  const gone = new AbortController();
  const failed = call(gateway, { signal: gone.signal }).catch((reason: unknown) => reason);
  await until(() => gateway.engine.listening === 1);
  gone.abort();
  await failed;
  await until(() => gateway.engine.cancelled.length === 1);
  expect(gateway.engine.kept).toEqual([gateway.engine.asked[0]?.id]);
  expect(requests).toHaveLength(1);
});
