import { KubeConfig } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '#sidecar/base/clock.ts';
import { AppError } from '#sidecar/base/errors.ts';
import { createLog } from '#sidecar/base/log.ts';
import { KubeClient } from '#operator/runtime/client.ts';
import { Connection } from '#operator/runtime/connection.ts';
import { EVENTS, EventRecorder } from '#operator/runtime/events.ts';
import { LeaderElection, type Term } from '#operator/runtime/leader.ts';
import { Reflector } from '#operator/runtime/reflector.ts';
import type { ResourceType } from '#operator/runtime/resources.ts';
import { type Change, Store } from '#operator/runtime/store.ts';
import { type ApiServer, startApiServer } from '#test/support/api-server.ts';
import { until } from '../../unit/runtime/await-until.ts';

const CONFIG_MAPS: ResourceType = {
  group: '',
  version: 'v1',
  plural: 'configmaps',
  kind: 'ConfigMap',
  namespaced: true,
};
const namespace = 'default';
const log = createLog('silent');
const clock = systemClock;

let server: ApiServer;
let connection: Connection;
let client: KubeClient;

beforeAll(async () => {
  server = await startApiServer();
  const config = new KubeConfig();
  config.loadFromString(server.kubeconfig);
  connection = new Connection(config, clock);
  client = new KubeClient({ connection, clock, log, userAgent: 'runtime-test/1' });
}, 600_000);

afterAll(async () => {
  await connection?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

function configMap(name: string, value: string, labels: Record<string, string> = {}) {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace, name, labels }, data: { value } };
}

async function put(name: string, value: string, labels: Record<string, string> = {}): Promise<void> {
  await client.apply(CONFIG_MAPS, configMap(name, value, labels), { fieldManager: 'tester', force: true });
}

interface Watched extends AsyncDisposable {
  readonly store: Store<string>;
  readonly changes: string[];
}

function watchConfigMaps(labelSelector: string, timings = {}): Watched {
  const project = (object: { [field: string]: unknown }): string => (object['data'] as { value: string }).value;
  const store = new Store<string>({ name: 'configmaps', log, project });
  const changes: string[] = [];
  store.subscribe((change: Change<string>) => {
    if (change.kind === 'deleted') changes.push(`- ${change.previous.key}`);
    else changes.push(`+ ${change.current.key}=${change.current.value}`);
  });
  const stop = new AbortController();
  const scope = { namespace, labelSelector };
  const reflector = new Reflector({ client, type: CONFIG_MAPS, scope, sink: store, clock, log, timings });
  const running = reflector.run(stop.signal);
  return {
    store,
    changes,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}

test('apply writes only what is asked, and a stale resourceVersion is refused', async () => {
  await put('applied', 'one');
  const first = await client.get(CONFIG_MAPS, { namespace, name: 'applied' });
  await put('applied', 'two');
  const stale = {
    ...configMap('applied', 'three'),
    metadata: { ...configMap('applied', '').metadata, resourceVersion: first?.metadata.resourceVersion ?? '' },
  };
  const refused = await client
    .apply(CONFIG_MAPS, stale, { fieldManager: 'tester', force: true })
    .catch((reason: unknown) => AppError.from(reason).code);
  expect(refused).toBe('conflict');
  await client.patch(CONFIG_MAPS, { namespace, name: 'applied' }, { kind: 'merge', patch: { data: { other: 'x' } } });
  const found = await client.get(CONFIG_MAPS, { namespace, name: 'applied' });
  expect(found?.['data']).toEqual({ value: 'two', other: 'x' });
});

test('a deletion with a foreign uid is refused', async () => {
  await put('kept', 'one');
  const key = { namespace, name: 'kept' };
  const refused = await client
    .delete(CONFIG_MAPS, key, { uid: 'not-this-one' })
    .catch((reason: unknown) => AppError.from(reason).code);
  expect(refused).toBe('conflict');
  expect(await client.delete(CONFIG_MAPS, key)).toBe(true);
});

test('lists come in pages and whole', async () => {
  const labels = { suite: 'pages' };
  await Promise.all(Array.from({ length: 25 }, async (_, index) => put(`page-${index}`, 'x', labels)));
  const page = await client.listPage(CONFIG_MAPS, { namespace, labelSelector: 'suite=pages', limit: 10 });
  expect([page.items.length, typeof page.continue]).toEqual([10, 'string']);
  const all = await client.list(CONFIG_MAPS, { namespace, labelSelector: 'suite=pages' });
  expect(all.items.length).toBe(25);
});

test('no change is missed and none invented when the API server is killed and comes back', async () => {
  const labels = { suite: 'restart' };
  await put('a', '1', labels);
  await put('b', '1', labels);
  await using watched = watchConfigMaps('suite=restart');
  await until(() => watched.store.hasSynced, 'synced');
  await server.kill();
  await server.start();
  await put('a', '2', labels);
  await put('c', '1', labels);
  await client.delete(CONFIG_MAPS, { namespace, name: 'b' });
  await until(() => watched.changes.length >= 5, 'the changes made after the restart');
  expect(watched.changes.toSorted()).toEqual(
    ['+ default/a=1', '+ default/a=2', '+ default/b=1', '+ default/c=1', '- default/b'].toSorted(),
  );
});

test('changes made while the watch was away are told after it is back', async () => {
  const labels = { suite: 'silence' };
  await put('quiet', '1', labels);
  await using watched = watchConfigMaps('suite=silence', { silenceMs: 2000 });
  await until(() => watched.store.hasSynced, 'synced');
  server.pause();
  await new Promise((resolve) => setTimeout(resolve, 2500));
  server.resume();
  await put('quiet', '2', labels);
  await until(() => watched.store.get('default/quiet') === '2', 'the change');
  expect(watched.changes).toEqual(['+ default/quiet=1', '+ default/quiet=2']);
});

test('a leader that stops renewing is followed, with a higher fence; one that stops politely at once', async () => {
  const timings = { durationMs: 3000, renewDeadlineMs: 2000, retryMs: 300 };
  const lease = { namespace, name: 'controller' };
  const terms: Term[] = [];
  const start = (stop: AbortSignal, cut: { dead: boolean }) => {
    const reach: typeof client.replace = async (...args) =>
      cut.dead ? new Promise(() => undefined) : client.replace(...args);
    const reachable = { get: client.get.bind(client), create: client.create.bind(client), replace: reach };
    return new LeaderElection({ client: reachable, lease, clock, log, timings })
      .run(stop, async (term) => {
        terms.push(term);
        const either = AbortSignal.any([stop, term.lost]);
        await new Promise((resolve) => either.addEventListener('abort', resolve, { once: true }));
      })
      .catch(() => undefined);
  };
  const stops = [new AbortController(), new AbortController(), new AbortController()] as const;
  const first = { dead: false };
  const running = [start(stops[0].signal, first)];
  await until(() => terms.length === 1, 'the first leads');
  running.push(start(stops[1].signal, { dead: false }));
  first.dead = true;
  await until(() => terms.length === 2, 'the second follows');
  expect(terms[0]?.lost.aborted).toBe(true);
  running.push(start(stops[2].signal, { dead: false }));
  stops[1].abort();
  await until(() => terms.length === 3, 'the third follows');
  expect(terms.map((term) => term.fence.transitions)).toEqual([0, 1, 2]);
  for (const stop of stops) stop.abort();
  await Promise.all(running);
});

test('events are accepted and counted by the API server', async () => {
  await put('eventful', '1');
  const found = await client.get(CONFIG_MAPS, { namespace, name: 'eventful' });
  const regarding = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    namespace,
    name: 'eventful',
    uid: found?.metadata.uid ?? '',
  };
  const recorder = new EventRecorder({ client, clock, log, controller: 'example.test/controller', instance: 'test-1' });
  const broke = { type: 'Warning', reason: 'Broke', action: 'Mended', note: 'it broke' } as const;
  recorder.record(regarding, broke);
  recorder.record(regarding, broke);
  await recorder.flush();
  const events = await client.list(EVENTS, { namespace });
  expect(events.items.map((event) => [event['reason'], (event['series'] as { count: number }).count])).toEqual([
    ['Broke', 2],
  ]);
});
