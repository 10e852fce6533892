import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { codeOf, dataOf, Fixture, KEY } from './fixture.ts';

/** Bytes of a response until it ended or broke. */
async function drain(response: Response): Promise<{ text: string; isBroken: boolean }> {
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of response.body ?? []) chunks.push(chunk as Uint8Array);
  } catch {
    return { text: Buffer.concat(chunks).toString(), isBroken: true };
  }
  return { text: Buffer.concat(chunks).toString(), isBroken: false };
}

test('a rule breaks the next K calls that match it, and no others', async () => {
  await using fixture = await Fixture.start();
  const action = { type: 'Code', code: '1305' } as const;
  const id = await fixture.control.addFault({ model: 'glm-5.3', skip: 1, times: 2, action });
  const codes = [];
  for (let call = 0; call < 5; call += 1) codes.push(await codeOf(await fixture.chat()));
  expect(codes).toEqual([undefined, '1305', '1305', undefined, undefined]);
  expect((await fixture.chat('hi', { model: 'glm-5.3-flash' })).status).toBe(200);
  expect(await fixture.control.faults()).toMatchObject([{ rule: { id }, matched: 5, hit: 2 }]);
  await fixture.control.removeFaults(id);
  expect(await fixture.control.faults()).toEqual([]);
});

test('a percentage is met exactly and spread evenly', async () => {
  await using fixture = await Fixture.start();
  await fixture.control.addFault({ percent: 25, action: { type: 'Http', status: 503 } });
  const statuses = [];
  for (let call = 0; call < 8; call += 1) statuses.push((await fixture.chat()).status);
  expect(statuses).toEqual([200, 200, 200, 503, 200, 200, 200, 503]);
});

test('a header chooses the calls of a rule', async () => {
  await using fixture = await Fixture.start();
  await fixture.control.addFault({ header: { name: 'X-Try', value: '1' }, action: { type: 'Http', status: 502 } });
  const path = '/api/coding/paas/v4/chat/completions';
  const body = { model: 'glm-5.3', messages: [{ role: 'user', content: 'hi' }] };
  expect((await fixture.post(path, body, { 'x-try': '1' })).status).toBe(502);
  expect((await fixture.post(path, body)).status).toBe(200);
});

test('a reset before the first byte is a network error and costs nothing', async () => {
  await using fixture = await Fixture.start();
  await expect(fixture.chat('[[sim fault=reset]]')).rejects.toThrow('fetch failed');
  const report = await fixture.control.until(({ calls }) => calls === 1);
  expect(report.rows).toMatchObject([{ broken: 1, accepted: 1, tokens: { input: 0, output: 0 } }]);
});

test('a reset mid-stream comes after exactly the frames asked for, and those are billed', async () => {
  await using fixture = await Fixture.start();
  const response = await fixture.chat('[[sim fault=midreset:2 tokens=16 chunk=4 prompt=9]]', { stream: true });
  const { text, isBroken } = await drain(response);
  expect(isBroken).toBe(true);
  expect(dataOf(text)).toHaveLength(2);
  await fixture.control.until(({ calls }) => calls === 1);
  expect(await fixture.control.calls()).toMatchObject([{ ending: 'Broken', tokens: { input: 9, output: 8 } }]);
});

test('a plain answer can be cut by a reset, or be broken JSON with a clean end', async () => {
  await using fixture = await Fixture.start();
  expect((await drain(await fixture.chat('[[sim fault=midreset]]'))).isBroken).toBe(true);
  const truncated = await drain(await fixture.chat('[[sim fault=truncated]]'));
  expect(truncated.isBroken).toBe(false);
  expect(() => JSON.parse(truncated.text) as unknown).toThrow(SyntaxError);
});

test('a truncated stream ends cleanly in the middle of a frame', async () => {
  await using fixture = await Fixture.start();
  const { text, isBroken } = await drain(await fixture.chat('[[sim fault=truncated:1]]', { stream: true }));
  expect(isBroken).toBe(false);
  expect(text).toMatch(/\n\ndata: \{"id":"$/);
});

test('a silent vendor holds the slot until its client leaves', async () => {
  await using fixture = await Fixture.start({ concurrency: { default: 1 } });
  const abort = new AbortController();
  const silent = fetch(`${fixture.simulator.url}/api/coding/paas/v4/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${KEY}` },
    body: JSON.stringify({ model: 'glm-5.3', messages: [{ role: 'user', content: '[[sim fault=silence]]' }] }),
    signal: abort.signal,
  });
  await fixture.control.until(({ inFlight }) => inFlight === 1);
  expect(await codeOf(await fixture.chat())).toBe('1302');
  abort.abort();
  await expect(silent).rejects.toThrow('aborted');
  await fixture.control.until(({ inFlight }) => inFlight === 0);
  expect((await fixture.chat()).status).toBe(200);
});

test('silence mid-stream ends in a reset when it is given a length', async () => {
  await using fixture = await Fixture.start();
  await fixture.control.addFault({ action: { type: 'MidSilence', afterFrames: 1, forMs: 30 } });
  const { text, isBroken } = await drain(await fixture.chat('hi', { stream: true }));
  expect(isBroken).toBe(true);
  expect(dataOf(text)).toHaveLength(1);
});

test('a dripping answer is whole in the end', async () => {
  await using fixture = await Fixture.start();
  await fixture.control.addFault({ action: { type: 'Drip', bytes: 50, everyMs: 1 } });
  expect(await (await fixture.chat('hi')).json()).toMatchObject({ model: 'glm-5.3' });
  const { text } = await drain(await fixture.chat('hi', { stream: true }));
  expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
});

test('an error can come in-band, in a stream and in a plain answer', async () => {
  await using fixture = await Fixture.start();
  const streamed = await fixture.chat('[[sim fault=streamerror:1302]]', { stream: true });
  expect(streamed.status).toBe(200);
  expect(dataOf(await streamed.text())).toEqual([
    { error: { code: '1302', message: 'Rate limit reached for requests' } },
  ]);
  const plain = await fixture.chat('[[sim fault=streamerror:1302]]');
  expect([plain.status, await codeOf(plain)]).toEqual([200, '1302']);
});

test('a vendor that is down takes no connection and lets none live', async () => {
  await using fixture = await Fixture.start();
  const held = fixture.chat('[[sim hold=x]]');
  await fixture.control.until(({ inFlight }) => inFlight === 1);
  await fixture.control.knobs({ isDown: true });
  await expect(held).rejects.toThrow('fetch failed');
  await expect(fixture.chat()).rejects.toThrow('fetch failed');
  await fixture.control.knobs({ isDown: false });
  expect((await fixture.chat()).status).toBe(200);
});

test('a call is in flight from its headers on, even when its body comes late', async () => {
  await using fixture = await Fixture.start({ concurrency: { default: 1 } });
  const { hostname, port } = new URL(fixture.simulator.url);
  const body = JSON.stringify({ model: 'glm-5.3', messages: [{ role: 'user', content: 'hi' }] });
  const held = fixture.chat('[[sim hold=x]]');
  await fixture.control.until(({ inFlight }) => inFlight === 1);
  const socket = connect(Number(port), hostname);
  const head = `POST /api/coding/paas/v4/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: ${KEY}\r\nconnection: close\r\ncontent-length: ${body.length}\r\nexpect: 100-continue\r\n\r\n`;
  socket.write(head);
  // The simulator's "100 Continue" says that it has the headers.
  await new Promise((resolve) => socket.once('data', resolve));
  await fixture.control.release();
  await (await held).text();
  await fixture.control.until(({ inFlight }) => inFlight === 0);
  socket.write(body);
  const answer = await new Promise<string>((resolve) => socket.once('data', (data) => resolve(data.toString())));
  expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  expect((await fixture.control.report()).overAdmission).toMatchObject({ concurrency: 1, maxExcess: 1 });
  socket.destroy();
});
