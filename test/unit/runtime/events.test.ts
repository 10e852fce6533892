import { beforeEach, expect, test } from 'vitest';
import { createLog } from '#sidecar/base/log.ts';
import { EventRecorder, type Happening, type RecorderOptions } from '#operator/runtime/events.ts';
import type { KubeIntent } from '#operator/runtime/resources.ts';
import { ManualClock } from './manual-clock.ts';

let clock: ManualClock;
let created: KubeIntent[];
let counted: number[];
let recorder: EventRecorder;

const regarding = { apiVersion: 'example.test/v1', kind: 'Widget', namespace: 'ns', name: 'w', uid: 'uid-w' };
const broke: Happening = { type: 'Warning', reason: 'Broke', action: 'Mended', note: 'it broke' };

beforeEach(() => {
  clock = new ManualClock();
  created = [];
  counted = [];
  const client = {
    create: async (_: unknown, object: KubeIntent) => created.push(object),
    patch: async (_: unknown, __: unknown, body: { patch: { series: { count: number } } }) =>
      counted.push(body.patch.series.count),
  } as unknown as RecorderOptions['client'];
  const log = createLog('silent');
  recorder = new EventRecorder({ client, clock, log, controller: 'example.test/controller', instance: 'pod-1' });
});

test('the same happening again counts up the first event', async () => {
  for (let turn = 0; turn < 3; turn++) {
    recorder.record(regarding, broke);
    await clock.advance(1000);
  }
  await recorder.flush();
  expect(created.map((event) => event['reason'])).toEqual(['Broke']);
  expect(counted).toEqual([2, 3]);
});

test('after ten quiet minutes it is a new event', async () => {
  recorder.record(regarding, broke);
  await clock.advance(601_000);
  recorder.record(regarding, broke);
  await recorder.flush();
  expect(created.length).toBe(2);
});

test('a burst about one object is cut off and does not silence another', async () => {
  for (let turn = 0; turn < 100; turn++) recorder.record(regarding, { ...broke, note: `number ${turn}` });
  recorder.record({ ...regarding, name: 'other', uid: 'uid-other' }, broke);
  await recorder.flush();
  expect(created.length).toBe(26);
});

test('events of cluster-scoped objects go to the namespace default', async () => {
  const { namespace, ...clusterScoped } = regarding;
  expect(namespace).toBe('ns');
  recorder.record(clusterScoped, broke);
  await recorder.flush();
  expect(created[0]?.metadata.namespace).toBe('default');
});
