import { beforeEach, expect, test } from 'vitest';
import type { LimitUsage, NodeStatus } from '#operator/api/v1alpha1/status.ts';
import { ThresholdEvents } from '#operator/controllers/node-status/threshold-events.ts';
import { GLM_QUOTAS } from '#operator/controllers/world/kinds.ts';
import type { Happening } from '#operator/runtime/events.ts';

const target = { namespace: 'glm', name: 'team', uid: 'uid-1', resourceVersion: '1', status: undefined };
const DEFAULT = [80, 90, 95];
let told: Happening[] = [];
let events: ThresholdEvents;

beforeEach(() => {
  told = [];
  events = new ThresholdEvents({ record: (_regarding, happening) => void told.push(happening) }, GLM_QUOTAS);
});

function status(percent: number, resetsAt = '2026-11-21T15:00:00Z'): NodeStatus {
  const usage: LimitUsage = {
    limit: 'five-hour',
    resource: 'Prompts',
    amount: '100',
    used: String(percent),
    reserved: '0',
    percent,
    resetsAt,
  };
  return { observedGeneration: 1, conditions: [], usage: [usage] };
}

function see(
  wanted: NodeStatus,
  { written = {}, thresholds = DEFAULT }: { written?: unknown; thresholds?: number[] } = {},
) {
  events.look(target, thresholds, { written, wanted });
  return told.splice(0).map(({ reason, note }) => `${reason} ${/passed \d+%|used up/.exec(note)?.[0]}`);
}

test('each threshold is told once, the highest of those crossed together', () => {
  expect(see(status(79))).toEqual([]);
  expect(see(status(80))).toEqual(['QuotaWarning passed 80%']);
  expect(see(status(81))).toEqual([]);
  expect(see(status(96))).toEqual(['QuotaWarning passed 95%']);
  expect(see(status(100))).toEqual(['QuotaExceeded used up']);
  expect(see(status(130))).toEqual([]);
});

test('use that goes to and fro around a threshold is told once', () => {
  expect(see(status(80))).toHaveLength(1);
  expect(see(status(78))).toEqual([]);
  expect(see(status(81))).toEqual([]);
  expect(see(status(74))).toEqual([]);
  expect(see(status(80))).toEqual(['QuotaWarning passed 80%']);
});

test('a new window is told anew, a reset that moves by a second is no new one', () => {
  expect(see(status(85, '2026-11-21T15:00:00Z'))).toHaveLength(1);
  expect(see(status(85, '2026-11-21T15:00:01Z'))).toEqual([]);
  expect(see(status(85, '2026-11-21T20:00:00Z'))).toEqual(['QuotaWarning passed 80%']);
});

test('a new leader does not tell what the status shows already', () => {
  expect(see(status(85), { written: status(85) })).toEqual([]);
  expect(see(status(91))).toEqual(['QuotaWarning passed 90%']);
});

test('a node’s own thresholds count, and none means silence', () => {
  expect(see(status(50), { thresholds: [50] })).toEqual(['QuotaWarning passed 50%']);
  events.forget(target.uid);
  expect(see(status(100), { thresholds: [] })).toEqual([]);
});

test('the note says how much of what, and when it resets', () => {
  events.look(target, DEFAULT, { written: {}, wanted: status(82) });
  expect(told[0]).toMatchObject({
    type: 'Warning',
    note: 'limit five-hour has passed 80%: 82 used of 100 Prompts; it resets at 2026-11-21T15:00:00Z',
  });
});
