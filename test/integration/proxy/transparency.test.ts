import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { exchange, RawVendor, startGateway, until } from './fixture.ts';

const BODY = '{"model":"glm-5.3",  "messages":[{"role":"user","content":"\xc3\xa9\\u00e9"}],\t"x_unknown":1.0}';

function post(
  headers: readonly string[],
  body = BODY,
  path = '/api/coding/paas/v4/chat/completions?a=b%20c&a=d',
): string {
  return [`POST ${path} HTTP/1.1`, ...headers, `content-length: ${body.length}`, '', body].join('\r\n');
}

test('the vendor gets path, body and headers as the client sent them, but for host, credential and connection', async () => {
  await using vendor = await RawVendor.start();
  vendor.onRequest = (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}');
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  const kept = [
    'User-Agent: OpenAI/JS 4.0',
    'X-Stainless-Lang: js',
    'x-stainless-LANG: twice',
    'Authorization: Bearer placeholder',
    'X-Latin: caf\xe9',
    'Accept: */*',
    'Content-Type: application/json',
    'X-Stainless-Lang: js',
  ];
  await exchange(
    gateway.port,
    post([
      'Host: 127.0.0.1:15787',
      'Connection: close, x-hop',
      'X-Hop: 1',
      'X-GLMQuota-User: me',
      'TE: trailers',
      ...kept,
    ]),
  );
  const [head = '', body] = vendor.text.split('\r\n\r\n');
  const [requestLine, ...headers] = head.split('\r\n');
  expect(requestLine).toBe('POST /api/coding/paas/v4/chat/completions?a=b%20c&a=d HTTP/1.1');
  expect(body).toBe(BODY);
  expect(headers).toEqual([
    `host: ${new URL(vendor.origin).host}`,
    'connection: keep-alive',
    ...kept.map((line) => line.replace('placeholder', 'secret-key')),
    `content-length: ${BODY.length}`,
  ]);
});

test('the client gets status line, headers and body as the vendor sent them', async () => {
  await using vendor = await RawVendor.start();
  const encoded = gzipSync('{"model":"glm-5.3","usage":{"prompt_tokens":3,"completion_tokens":4}}');
  const headers = [
    'Date: Mon, 01 Jan 2035 00:00:00 GMT',
    'X-Request-Id: abc',
    'Set-Cookie: a=1',
    'set-cookie: b=2',
    'X-Latin: caf\xe9',
    'Content-Type: application/json; charset=UTF-8',
    'Content-Encoding: gzip',
    `Content-Length: ${encoded.length}`,
  ];
  vendor.onRequest = (socket) => {
    socket.write(
      `HTTP/1.1 200 Fine\r\n${headers.join('\r\n')}\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive\r\n\r\n`,
      'latin1',
    );
    socket.write(encoded);
  };
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  const answer = await exchange(gateway.port, post(['Host: x', 'Connection: close']));
  const split = answer.indexOf('\r\n\r\n');
  expect(answer.slice(0, split).split('\r\n')).toEqual(['HTTP/1.1 200 Fine', ...headers, 'Connection: close']);
  expect(answer.slice(split + 4)).toBe(encoded.toString('latin1'));
  expect(gateway.engine.settled).toMatchObject([{ outcome: 'completed', actual: { inputTokens: 3, outputTokens: 4 } }]);
});

test('a stream passes chunk by chunk, before the vendor has ended it', async () => {
  await using vendor = await RawVendor.start();
  const frames = ['data: {"model":"glm-5.3","choices":[{"delta":{"content":"a"}}]}\n\n', 'data: [DONE]\n\n'];
  const chunked = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
  let finish: () => void = () => undefined;
  vendor.onRequest = (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');
    socket.write(chunked(frames[0]!));
    finish = () => void socket.write(`${chunked(frames[1]!)}0\r\n\r\n`);
  };
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  const response = await fetch(`${gateway.url}/api/coding/paas/v4/chat/completions`, {
    method: 'POST',
    body: '{"model":"m"}',
  });
  const reader = response.body!.getReader();
  const first = await reader.read();
  expect(Buffer.from(first.value!).toString()).toBe(frames[0]);
  expect(gateway.engine.settled).toEqual([]);
  finish();
  const second = await reader.read();
  expect(Buffer.from(second.value!).toString()).toBe(frames[1]);
  expect((await reader.read()).done).toBe(true);
});

test("the head of a response is passed on while the vendor's body is still to come", async () => {
  await using vendor = await RawVendor.start();
  vendor.onRequest = (socket) =>
    socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  const response = await fetch(`${gateway.url}/api/coding/paas/v4/chat/completions`, {
    method: 'POST',
    body: '{"model":"m"}',
  });
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  await response.body!.cancel();
});

test('a client that reads slowly slows the vendor down instead of filling our memory', async () => {
  await using vendor = await RawVendor.start();
  const megabyte = Buffer.alloc(1024 * 1024, 'x');
  let written = 0;
  let full = false;
  vendor.onRequest = (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${400 * megabyte.length}\r\n\r\n`);
    const more = (): void => {
      while (written < 400) {
        written += 1;
        if (socket.write(megabyte)) continue;
        full = true;
        socket.once('drain', () => {
          full = false;
          more();
        });
        return;
      }
    };
    more();
  };
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  const response = await fetch(`${gateway.url}/api/coding/paas/v4/chat/completions`, {
    method: 'POST',
    body: '{"model":"m"}',
  });
  let before = -1;
  await until(() => {
    const stalled = full && written === before;
    before = written;
    return stalled;
  });
  expect(written).toBeLessThan(100);
  await response.body!.cancel();
  await until(() => gateway.engine.settled.length === 1);
});

test('a client that waits for 100 Continue is told to go on, and the vendor never sees its Expect', async () => {
  await using vendor = await RawVendor.start();
  vendor.onRequest = (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}');
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  const answer = await exchange(gateway.port, post(['Host: x', 'Expect: 100-continue', 'Connection: close']));
  expect(answer).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n/);
  expect(vendor.text).not.toMatch(/expect/i);
});

test('connections to client and vendor are used again', async () => {
  await using vendor = await RawVendor.start();
  vendor.onRequest = (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}');
  await using gateway = await startGateway({ upstream: { origin: vendor.origin } });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ports = new Set<number | undefined>();
  for (let call = 0; call < 3; call++) {
    const sent = request(`${gateway.url}/api/coding/paas/v4/chat/completions`, { method: 'POST', agent });
    sent.end('{"model":"m"}');
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    ports.add(response.socket.localPort);
    response.resume();
    await once(response, 'close');
  }
  agent.destroy();
  expect(ports.size).toBe(1);
  expect(vendor.sockets).toHaveLength(1);
});
