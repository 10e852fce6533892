import { expect, test } from 'vitest';
import { createLog } from '#sidecar/base/log.ts';
import type { KubeObject } from '#operator/runtime/resources.ts';
import { Store } from '#operator/runtime/store.ts';
import { widget } from './api-fault-server.ts';

interface Colored {
  readonly name: string;
  readonly colors: readonly string[];
}

function object(name: string, version: number, colors: readonly string[]): KubeObject {
  return { ...widget(name, version), colors } as unknown as KubeObject;
}

function coloredStore(project?: (from: KubeObject) => Colored | null): Store<Colored> {
  const asColored = (from: KubeObject): Colored => ({ name: from.metadata.name, colors: from['colors'] as string[] });
  const log = createLog('silent');
  return new Store({ name: 'colored', log, project: project ?? asColored, indexes: { color: (each) => each.colors } });
}

const names = (found: readonly Colored[]): string[] => found.map((each) => each.name).toSorted();

test('an index follows updates and deletions', () => {
  const store = coloredStore();
  store.upsert(object('a', 1, ['red', 'blue']));
  store.upsert(object('b', 1, ['red']));
  expect(names(store.byIndex('color', 'red'))).toEqual(['a', 'b']);
  store.upsert(object('a', 2, ['green']));
  expect(names(store.byIndex('color', 'red'))).toEqual(['b']);
  expect(names(store.byIndex('color', 'green'))).toEqual(['a']);
  store.remove(object('b', 3, ['red']));
  expect(store.byIndex('color', 'red')).toEqual([]);
});

test('whoever subscribes late hears first of what is there', () => {
  const store = coloredStore();
  store.upsert(object('a', 1, []));
  const heard: string[] = [];
  {
    using subscription = store.subscribe((change) => heard.push(change.kind));
    expect(subscription).toBeDefined();
    store.upsert(object('a', 2, []));
  }
  store.upsert(object('a', 3, []));
  expect(heard).toEqual(['added', 'updated']);
});

test('a listener that throws keeps neither the others nor the store from the change', () => {
  const store = coloredStore();
  const heard: string[] = [];
  store.subscribe(() => {
    throw new Error('a bug of the listener');
  });
  store.subscribe((change) => heard.push(change.kind));
  store.upsert(object('a', 1, []));
  expect(heard).toEqual(['added']);
  expect(store.size).toBe(1);
});

test('an object whose projection throws is left out, and taken up when it gets well', () => {
  const store = coloredStore((from) => {
    if (from['colors'] === undefined) throw new Error('no colors');
    return { name: from.metadata.name, colors: [] };
  });
  store.upsert(object('a', 1, []));
  store.upsert({ ...widget('a', 2) } as unknown as KubeObject);
  expect(store.size).toBe(0);
  store.upsert(object('a', 3, []));
  expect(store.size).toBe(1);
});

test('a replacement takes effect as a whole', () => {
  const store = coloredStore();
  store.upsert(object('a', 1, []));
  const replacement = store.replace();
  replacement.add(object('b', 2, []));
  expect([...store.keys()]).toEqual(['ns/a']);
  replacement.commit();
  expect([...store.keys()]).toEqual(['ns/b']);
});
