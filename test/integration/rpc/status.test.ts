import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { expect, onTestFinished, test } from 'vitest';
import { AppError, CODES } from '#sidecar/base/errors.ts';
import type { Log } from '#sidecar/base/log.ts';
import { statusOf } from '#sidecar/rpc/status.ts';
import type { Handlers } from '#sidecar/rpc/handlers.ts';
import { EchoService } from '#test/support/rpc/echo.ts';
import { serve } from '#test/support/rpc/serving.ts';

/** One call of a client that knows nothing of our bridge. */
function rawCall(address: string, path: string, bytes: Buffer): Promise<ServiceError | null> {
  const client = new Client(address, credentials.createInsecure());
  onTestFinished(() => client.close());
  const same = (value: Buffer): Buffer => value;
  return new Promise((resolve) => client.makeUnaryRequest(path, same, same, bytes, (error) => resolve(error)));
}

function failing(error: () => Error): Handlers<typeof EchoService> {
  const fail = async (): Promise<never> => {
    throw error();
  };
  const failLater = async function* (): AsyncGenerator<never> {
    yield await fail();
  };
  return { one: fail, many: failLater, collect: fail, talk: failLater };
}

test.each(CODES)('an AppError %s has its own gRPC status and comes back as the same code', async (code) => {
  const { client, address } = await serve(
    EchoService,
    failing(() => new AppError(code, `it is ${code}`)),
  );
  const raw = await rawCall(address, '/test.v1.EchoService/One', Buffer.alloc(0));
  expect(raw?.code).toBe(statusOf(code));
  const message = code === 'internal' ? 'internal error' : `it is ${code}`;
  await expect(client.one({})).rejects.toMatchObject({ name: 'AppError', code, message });
  await expect(client.many({})[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code, message });
});

test('an unknown throwable becomes internal, is logged once, and its text stays on the server', async () => {
  const logged: string[] = [];
  const quiet = (): void => undefined;
  const log: Log = {
    debug: quiet,
    info: quiet,
    warn: quiet,
    error: (event, fields) => logged.push(`${event} ${fields?.['path'] as string} ${fields?.cause}`),
    with: () => log,
  };
  const { address } = await serve(
    EchoService,
    failing(() => new TypeError('password is hunter2')),
    { log },
  );
  const raw = await rawCall(address, '/test.v1.EchoService/One', Buffer.alloc(0));
  expect(raw?.details).toBe('internal error');
  expect(JSON.stringify([raw, raw?.metadata.getMap()])).not.toContain('hunter2');
  expect(logged).toHaveLength(1);
  expect(logged[0]).toContain('rpc.failed /test.v1.EchoService/One TypeError: password is hunter2');
});

test('bytes that are no message are answered INVALID_ARGUMENT', async () => {
  const { address } = await serve(
    EchoService,
    failing(() => new AppError('internal', 'not reached')),
  );
  const raw = await rawCall(address, '/test.v1.EchoService/One', Buffer.from([0x0a, 0xff]));
  expect(raw?.code).toBe(statusOf('invalid'));
  expect(raw?.details).toBe('the bytes are no test.v1.Note');
});

test('an RPC the server does not know is unsupported', async () => {
  const { address } = await serve(
    EchoService,
    failing(() => new AppError('internal', 'not reached')),
  );
  const raw = await rawCall(address, '/test.v1.EchoService/Newer', Buffer.alloc(0));
  expect(raw?.code).toBe(statusOf('unsupported'));
});

test('an error message of any length and any characters arrives, cut', async () => {
  const text = `\ud800 "ä漢\n%${'y'.repeat(100_000)}`;
  const { client } = await serve(
    EchoService,
    failing(() => new AppError('invalid', text)),
  );
  const error = await client.one({}).then(
    () => null,
    (reason: AppError) => reason,
  );
  expect(error?.code).toBe('invalid');
  expect(error?.message).toMatch(/^\ufffd "ä漢\n%y+$/);
  expect(error?.message).toHaveLength(1_000);
});

test('a request above the limit is refused', async () => {
  const { client } = await serve(
    EchoService,
    failing(() => new AppError('internal', 'not reached')),
  );
  await expect(client.one({ text: 'x'.repeat(2 ** 20 + 1) })).rejects.toMatchObject({ code: 'exhausted' });
});
