import { beforeEach, expect, test } from 'vitest';
import type { ResetStatus } from '#operator/api/v1alpha1/status.ts';
import { planReset, WindowReset } from '#operator/controllers/node-status/window-reset.ts';
import { GLM_QUOTAS } from '#operator/controllers/world/kinds.ts';
import { AppError } from '#sidecar/base/errors.ts';
import { ManualClock } from '../runtime/manual-clock.ts';

const REQUEST = 'five-hour@2026-11-21T10:00:00Z';
const CREATED = '2026-11-01T00:00:00Z';
const echo = (request: string): ResetStatus => ({ request, result: 'Done', at: CREATED });

test.each([
  ['nothing was asked', undefined, null, { kind: 'none' }],
  ['it was done', REQUEST, echo(REQUEST), { kind: 'none' }],
  ['it is new', REQUEST, null, { kind: 'reset', limit: 'five-hour' }],
  ['another one was done', REQUEST, echo('weekly@2026-11-20T10:00:00Z'), { kind: 'reset', limit: 'five-hour' }],
  ['its time has a zone', 'five-hour@2026-11-21T10:00:00.5+08:00', null, { kind: 'reset', limit: 'five-hour' }],
  ['it has no time', 'five-hour', null, { kind: 'refuse', result: 'Malformed' }],
  ['its time is none', 'five-hour@yesterday', null, { kind: 'refuse', result: 'Malformed' }],
  ['its month is none', 'five-hour@2026-13-21T10:00:00Z', null, { kind: 'refuse', result: 'Malformed' }],
  ['it names no limit', '@2026-11-21T10:00:00Z', null, { kind: 'refuse', result: 'Malformed' }],
  ['W4 it is older than the object', 'five-hour@2026-10-31T10:00:00Z', null, { kind: 'refuse', result: 'Outdated' }],
])('when %s', (_, request, done, step) => {
  expect(planReset({ request, done, createdAt: CREATED })).toEqual(step);
});

const place = { tree: 'tree', node: 'quota:glm/team' };
const { signal } = new AbortController();
const clock = new ManualClock(Date.parse('2026-11-21T10:00:05Z'));
let calls: string[];
let events: string[];
let answer: () => boolean;
let resets: WindowReset;

beforeEach(() => {
  calls = [];
  events = [];
  answer = () => true;
  resets = new WindowReset({
    engine: {
      resetWindow: async (tree, node, limit) => {
        calls.push(`${tree} ${node} ${limit}`);
        return answer();
      },
    },
    recorder: { record: (_regarding, { type, reason }) => void events.push(`${type} ${reason}`) },
    type: GLM_QUOTAS,
    clock,
  });
});

const target = (request: string) => ({
  namespace: 'glm',
  name: 'team',
  uid: 'uid-1',
  resourceVersion: '1',
  status: {},
  annotations: { 'glmquota.io/reset-window': request },
  createdAt: CREATED,
});

test('a reset is done once, told and echoed', async () => {
  const echoed = { request: REQUEST, result: 'Done', at: '2026-11-21T10:00:05Z' };
  expect(await resets.apply(target(REQUEST), {}, place, signal)).toEqual(echoed);
  expect(await resets.apply(target(REQUEST), {}, place, signal)).toEqual(echoed);
  expect(calls).toEqual(['tree quota:glm/team five-hour']);
  expect(events).toEqual(['Normal WindowReset']);
});

test('a new leader finds in the status that it was done', async () => {
  const reset = echo(REQUEST);
  expect(await resets.apply(target(REQUEST), { reset }, place, signal)).toEqual(reset);
  expect(calls).toEqual([]);
});

test('a limit that the node lacks is told, once', async () => {
  answer = () => false;
  expect(await resets.apply(target(REQUEST), {}, place, signal)).toMatchObject({ result: 'NoSuchLimit' });
  await resets.apply(target(REQUEST), {}, place, signal);
  expect(events).toEqual(['Warning WindowResetRefused']);
});

test('what cannot be done while Redis is away is done later', async () => {
  answer = () => {
    throw new AppError('unavailable', 'Redis is away');
  };
  await expect(resets.apply(target(REQUEST), {}, place, signal)).rejects.toMatchObject({ code: 'unavailable' });
  answer = () => true;
  expect(await resets.apply(target(REQUEST), {}, place, signal)).toMatchObject({ result: 'Done' });
});

test('a value too long to be echoed whole is refused once', async () => {
  const long = `five-hour@${'2'.repeat(1000)}`;
  expect(await resets.apply(target(long), {}, place, signal)).toMatchObject({ result: 'Malformed' });
  await resets.apply(target(long), {}, place, signal);
  expect(events).toEqual(['Warning WindowResetRefused']);
});
