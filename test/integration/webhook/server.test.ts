import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAuthority, signServerCertificate } from '#operator/certificates/x509.ts';
import { startWebhook, type Webhook } from '#operator/webhook/server.ts';
import { createLog } from '#sidecar/base/log.ts';
import { createRegistry } from '#sidecar/base/metrics.ts';

const MIB = 1024 * 1024;
let webhook: Webhook;
let caPem: string;

beforeAll(async () => {
  const nowMs = Date.now();
  const authority = await createAuthority('test', { nowMs, days: 1 });
  caPem = authority.certPem;
  const certificate = await signServerCertificate(
    authority,
    { commonName: 'w', dnsNames: ['localhost'] },
    { nowMs, days: 1 },
  );
  const log = createLog('silent');
  webhook = await startWebhook({
    host: '127.0.0.1',
    port: 0,
    certificate,
    context: () => null,
    log,
    registry: createRegistry(),
  });
});
afterAll(() => webhook[Symbol.asyncDispose]());

async function open(): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port: webhook.port, ca: caPem, servername: 'localhost' });
  socket.on('error', () => undefined);
  await once(socket, 'secureConnect');
  return socket;
}

/** The first line of the answer to a request of `stated` bytes of which only `sent` come. */
async function post(stated: number, sent: number): Promise<{ socket: TLSSocket; status: Promise<string> }> {
  const socket = await open();
  const status = new Promise<string>((resolve) =>
    socket.once('data', (data: Buffer) => resolve(data.toString().split('\r\n')[0] ?? '')),
  );
  socket.write(`POST /inject HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${stated}\r\n\r\n`);
  socket.write(Buffer.alloc(sent, 32));
  return { socket, status };
}

test('a body that is no review is a 400', async () => {
  const { socket, status } = await post(2, 2);
  expect(await status).toContain('400');
  socket.destroy();
});

test('a body above what a review can be is a 413', async () => {
  const { socket, status } = await post(5 * MIB, 5 * MIB);
  expect(await status).toContain('413');
  socket.destroy();
});

test('many unfinished bodies are refused before they fill the memory, and the server serves on', async () => {
  const slow = await Promise.all(Array.from({ length: 14 }, () => post(4 * MIB, 4 * MIB - 10)));
  expect(await Promise.any(slow.map(({ status }) => status))).toContain('503');
  for (const { socket } of slow) socket.destroy();
  const { socket, status } = await post(2, 2);
  expect(await status).toContain('400');
  socket.destroy();
});
