import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '#sidecar/base/clock.ts';
import { AppError } from '#sidecar/base/errors.ts';
import { isAlreadyExists, isExpired } from '#operator/runtime/api-errors.ts';
import type { KubeClient } from '#operator/runtime/client.ts';
import type { Connection } from '#operator/runtime/connection.ts';
import { ApiFaultServer, sendJson, sendStatus, widget, WIDGETS } from './api-fault-server.ts';

let server: ApiFaultServer;
let client: KubeClient;
let connection: Connection;

const key = { namespace: 'ns', name: 'a' };
const intent = { apiVersion: 'example.test/v1', kind: 'Widget', metadata: key, spec: {} };

beforeEach(async () => {
  server = await ApiFaultServer.start();
  ({ client, connection } = server.client(systemClock));
});

afterEach(async () => {
  await connection[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

async function failure(call: Promise<unknown>): Promise<AppError> {
  return call.then(
    () => new AppError('internal', 'it succeeded'),
    (reason: unknown) => AppError.from(reason),
  );
}

test('two hundred calls share a few connections', async () => {
  server.otherwise = (_, response) => sendJson(response, widget('a', 1));
  await Promise.all(Array.from({ length: 200 }, async () => client.get(WIDGETS, key)));
  expect(server.sockets).toBeLessThanOrEqual(16);
});

test('an absent object is null, any other failure an error by its status', async () => {
  server.script.push((_, response) => sendStatus(response, 404, 'NotFound'));
  expect(await client.get(WIDGETS, key)).toBeNull();
  const codes: Record<number, string> = {
    400: 'invalid',
    401: 'unauthenticated',
    403: 'forbidden',
    422: 'invalid',
    500: 'unavailable',
  };
  for (const [status, code] of Object.entries(codes)) {
    server.script.push((_, response) => sendStatus(response, Number(status), 'Because'));
    const error = await failure(client.get(WIDGETS, key));
    expect([error.code, error.fields['reason']]).toEqual([code, 'Because']);
  }
});

test('a lost race, an existing object and an expired version are told apart', async () => {
  server.script.push(
    (_, response) => sendStatus(response, 409, 'Conflict'),
    (_, response) => sendStatus(response, 409, 'AlreadyExists'),
    (_, response) => sendStatus(response, 410, 'Expired'),
  );
  const errors = [];
  for (let turn = 0; turn < 3; turn++) errors.push(await failure(client.create(WIDGETS, intent)));
  expect(errors.map((error) => error.code)).toEqual(['conflict', 'conflict', 'conflict']);
  expect(errors.map(isAlreadyExists)).toEqual([false, true, false]);
  expect(errors.map(isExpired)).toEqual([false, false, true]);
});

test('a call the server put off with Retry-After is made again, even a write', async () => {
  server.script.push(
    (_, response) => sendStatus(response, 429, 'TooManyRequests', { 'retry-after': '0' }),
    (_, response) => sendJson(response, widget('a', 2), 201),
  );
  await client.create(WIDGETS, intent);
  expect(server.exchanges.length).toBe(2);
});

test('a write whose answer got lost is not made again behind the caller', async () => {
  server.script.push((_, response) => void response.socket?.resetAndDestroy());
  expect((await failure(client.create(WIDGETS, intent))).code).toBe('unavailable');
  expect(server.exchanges.length).toBe(1);
});

test('a read whose connection broke is made again', async () => {
  server.script.push(
    (_, response) => void response.socket?.resetAndDestroy(),
    (_, response) => sendJson(response, widget('a', 2)),
  );
  expect((await client.get(WIDGETS, key))?.metadata.resourceVersion).toBe('2');
});

test('apply states its field manager and the subresource', async () => {
  server.otherwise = (_, response) => sendJson(response, widget('a', 1));
  await client.apply(WIDGETS, intent, { fieldManager: 'tester', force: true, subresource: 'status' });
  const [sent] = server.exchanges;
  expect(sent?.path).toBe('/apis/example.test/v1/namespaces/ns/widgets/a/status');
  expect(Object.fromEntries(sent?.query ?? [])).toEqual({
    fieldManager: 'tester',
    force: 'true',
    fieldValidation: 'Strict',
  });
  expect(sent?.headers['content-type']).toBe('application/apply-patch+yaml');
});

test('a deletion names the object it means', async () => {
  server.script.push(
    (_, response) => sendJson(response, { kind: 'Status', apiVersion: 'v1', metadata: {} }),
    (_, response) => sendStatus(response, 404, 'NotFound'),
  );
  expect(await client.delete(WIDGETS, key, { uid: 'uid-a' })).toBe(true);
  expect(await client.delete(WIDGETS, key, { uid: 'uid-a' })).toBe(false);
  expect(JSON.parse(server.exchanges[0]?.body ?? '')).toMatchObject({ preconditions: { uid: 'uid-a' } });
});

test('an aborted call ends at once with its reason', async () => {
  const stop = new AbortController();
  server.script.push(() => stop.abort(new AppError('cancelled', 'enough')));
  expect((await failure(client.get(WIDGETS, key, { signal: stop.signal }))).message).toBe('enough');
});
