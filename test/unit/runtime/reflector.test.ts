import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLog } from '#sidecar/base/log.ts';
import { Reflector } from '#operator/runtime/reflector.ts';
import type { KubeObject } from '#operator/runtime/resources.ts';
import type { Connection } from '#operator/runtime/connection.ts';
import { type Change, Store } from '#operator/runtime/store.ts';
import {
  ApiFaultServer,
  bookmark,
  line,
  sendAndReset,
  sendList,
  sendStatus,
  sendStream,
  widget,
  WIDGETS,
} from './api-fault-server.ts';
import { until } from './await-until.ts';
import { ManualClock, settled } from './manual-clock.ts';

let server: ApiFaultServer;
let clock: ManualClock;
let connection: Connection;
let store: Store<number>;
let changes: string[];
let stop: AbortController;
let running: Promise<void>;

beforeEach(async () => {
  server = await ApiFaultServer.start();
  clock = new ManualClock();
  changes = [];
  stop = new AbortController();
  const log = createLog('silent');
  const project = (object: KubeObject): number => (object['spec'] as { size: number }).size;
  store = new Store<number>({ name: 'widgets', log, project });
  store.subscribe((change: Change<number>) => {
    const { key, resourceVersion } = change.kind === 'deleted' ? change.previous : change.current;
    changes.push(`${change.kind} ${key}@${resourceVersion}`);
  });
});

afterEach(async () => {
  stop.abort();
  await running;
  await connection[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

function start(timings = {}): Reflector {
  const made = server.client(clock);
  connection = made.connection;
  const options = {
    client: made.client,
    type: WIDGETS,
    sink: store,
    clock,
    log: createLog('silent'),
    random: () => 0.5,
  };
  const reflector = new Reflector({ ...options, timings });
  running = reflector.run(stop.signal);
  return reflector;
}

/** Lets back-offs pass until the claim holds. */
async function passUntil(claim: () => boolean, what: string): Promise<void> {
  await until(async () => {
    if (claim()) return true;
    await clock.advance(100);
    return claim();
  }, what);
}

test('lists in pages and is synced only after the last', async () => {
  server.script.push(
    sendList(7, [widget('a', 1)], 'next'),
    (exchange, response) => {
      expect(store.hasSynced).toBe(false);
      expect(exchange.query.get('continue')).toBe('next');
      void sendList(7, [widget('b', 2)])(exchange, response);
    },
    sendStream(),
  );
  start();
  await until(() => server.watches.length === 1, 'a watch follows the list');
  expect(store.hasSynced).toBe(true);
  expect([...store.keys()]).toEqual(['ns/a', 'ns/b']);
  expect(server.watches[0]?.query.get('resourceVersion')).toBe('7');
  expect(server.watches[0]?.query.get('allowWatchBookmarks')).toBe('true');
  expect(server.watches[0]?.headers['user-agent']).toBe('runtime-test/1');
  expect(server.watches[0]?.headers['authorization']).toBe('Bearer a-token');
});

test('lists in one piece when the continue token expires between two pages', async () => {
  server.script.push(
    sendList(7, [widget('gone', 1)], 'next'),
    (_, response) => sendStatus(response, 410, 'Expired'),
    sendList(9, [widget('a', 8)]),
    sendStream(),
  );
  start();
  await until(() => store.hasSynced, 'synced');
  expect([...store.keys()]).toEqual(['ns/a']);
  expect(server.lists[2]?.query.has('limit')).toBe(false);
});

test('a connection reset in the middle of a line resumes after the last whole event', async () => {
  const half = line('ADDED', widget('b', 9)).slice(0, 60);
  server.script.push(
    sendList(7, [widget('a', 1)]),
    sendAndReset(line('MODIFIED', widget('a', 8)), half),
    sendStream(line('ADDED', widget('b', 9))),
  );
  start();
  await passUntil(() => store.get('ns/b') === 9, 'the event that was cut off arrives');
  expect(server.watches.map((watch) => watch.query.get('resourceVersion'))).toEqual(['7', '8']);
  expect(server.lists.length).toBe(1);
  expect(changes).toEqual(['added ns/a@1', 'updated ns/a@8', 'added ns/b@9']);
});

test('410 on opening a watch leads to a fresh list that deletes what is gone', async () => {
  server.script.push(
    sendList(7, [widget('a', 1), widget('b', 2)]),
    (_, response) => sendStatus(response, 410, 'Expired'),
    sendList(20, [widget('b', 15)]),
    sendStream(),
  );
  start();
  await passUntil(() => server.watches.length === 2, 'a watch from the fresh list');
  expect(changes).toEqual(['added ns/a@1', 'added ns/b@2', 'deleted ns/a@1', 'updated ns/b@15']);
  expect(server.watches[1]?.query.get('resourceVersion')).toBe('20');
});

test('410 as an event inside a watch leads to a fresh list', async () => {
  const gone = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' };
  server.script.push(sendList(7, []), sendStream(line('ERROR', gone)), sendList(20, [widget('a', 15)]), sendStream());
  start();
  await passUntil(() => store.get('ns/a') === 15, 'listed again');
  expect(server.lists.length).toBe(2);
});

test('errors of the server are survived, with growing pauses', async () => {
  const starts: number[] = [];
  server.otherwise = (_, response) => {
    starts.push(clock.monotonicMs());
    sendStatus(response, 500, 'InternalError');
  };
  start();
  await passUntil(() => starts.length === 6, 'six attempts');
  server.otherwise = (exchange, response) =>
    exchange.query.has('watch') ? sendStream()(exchange, response) : sendList(7, [widget('a', 1)])(exchange, response);
  await passUntil(() => store.hasSynced, 'synced in the end');
  const pauses = starts.slice(1).map((at, index) => at - (starts[index] ?? 0));
  expect(pauses.every((pause, index) => index === 0 || pause > (pauses[index - 1] ?? 0))).toBe(true);
});

test('Retry-After of an overloaded server is obeyed', async () => {
  server.script.push((_, response) => sendStatus(response, 429, 'TooManyRequests', { 'retry-after': '20' }));
  server.otherwise = sendList(7, []);
  start();
  await until(() => clock.pending.length > 0 && server.exchanges.length === 1, 'waiting');
  await clock.advance(19_000);
  expect(server.exchanges.length).toBe(1);
  await clock.advance(1500);
  await until(() => server.exchanges.length > 1, 'asked again');
});

test('a stream that falls silent is given up and resumed from the last bookmark', async () => {
  server.script.push(
    sendList(7, [widget('a', 1)]),
    sendStream(bookmark(11)),
    sendStream(line('DELETED', widget('a', 12))),
  );
  const reflector = start({ silenceMs: 40_000 });
  await until(() => server.watches.length === 1, 'watching');
  await until(async () => {
    await settled();
    return reflector.silentMs === 0;
  }, 'bookmark read');
  await passUntil(() => server.watches.length === 2, 'the silent watch was given up');
  expect(server.watches[1]?.query.get('resourceVersion')).toBe('11');
  await until(() => store.size === 0, 'the deletion arrived');
  expect(server.lists.length).toBe(1);
});

test('repeated bookmarks and events that are known already change nothing', async () => {
  server.script.push(
    sendList(7, [widget('a', 5)]),
    sendStream(
      bookmark(8),
      bookmark(8),
      line('MODIFIED', widget('a', 5)),
      line('MODIFIED', widget('a', 9)),
      bookmark(9),
    ),
  );
  start();
  await until(() => store.get('ns/a') === 9, 'the real change arrives');
  expect(changes).toEqual(['added ns/a@5', 'updated ns/a@9']);
});

test('an object deleted and made again under its name is told as two changes', async () => {
  server.script.push(sendList(7, [widget('a', 5)]), sendStream(line('MODIFIED', widget('a', 9, 'other-uid'))));
  start();
  await until(() => store.get('ns/a') === 9, 'the new object arrives');
  expect(changes).toEqual(['added ns/a@5', 'deleted ns/a@5', 'added ns/a@9']);
});

test('lines that drip in byte by byte are read whole', async () => {
  const text = line('ADDED', { ...widget('a', 9), note: 'größer als 4 €' });
  server.script.push(sendList(7, []), async (_, response) => {
    response.writeHead(200);
    for (const byte of Buffer.from(text)) {
      response.write(Uint8Array.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
  start();
  await until(() => store.size === 1, 'the event arrives');
  expect(changes).toEqual(['added ns/a@9']);
});

test('an event that cannot be read leads to a fresh list instead of being skipped', async () => {
  server.script.push(
    sendList(7, []),
    sendStream(line('MODIFIED', 'not an object')),
    sendList(9, [widget('a', 8)]),
    sendStream(),
  );
  start();
  await passUntil(() => store.get('ns/a') === 8, 'listed again');
  expect(server.lists.length).toBe(2);
});

test('a watch the server ends at once again and again is not opened in a tight loop', async () => {
  server.script.push(sendList(7, []));
  server.otherwise = (_, response) => void response.writeHead(200).end();
  start();
  await until(() => server.watches.length === 1, 'watching');
  for (let turn = 0; turn < 20; turn++) await settled();
  expect(server.watches.length).toBe(1);
  await passUntil(() => server.watches.length === 3, 'goes on after pauses');
});

test('stopping ends it at once and leaves no watch open', async () => {
  server.script.push(sendList(7, []), (_, response) => {
    response.on('close', () => changes.push('closed'));
    response.writeHead(200).flushHeaders();
  });
  start();
  await until(() => server.watches.length === 1, 'watching');
  stop.abort();
  await running;
  await until(() => changes.includes('closed'), 'the socket was closed');
  expect(server.watches.length).toBe(1);
});
