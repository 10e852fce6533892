import { expect, test } from 'vitest';
import { type CountedNode, findBlockage } from '#operator/controllers/node-status/blockage.ts';
import type { NodeSnapshot, UsageSnapshot } from '#sidecar/engine/terms.ts';
import type { NodeConfig, StopConfig } from '#sidecar/engine/tree-terms.ts';

const NOW_MS = Date.parse('2026-11-21T10:00:00Z');
const HOUR_MS = 3_600_000;

function snapshot(name: string, change: Partial<NodeSnapshot> = {}): NodeSnapshot {
  const quiet = { inFlight: 0, concurrency: null, stopped: false, queued: 0, frozenUntilMs: null, usage: [] };
  return { name, breaker: 'Closed', rateWaitUs: 0, oldestWaiterMs: null, ...quiet, ...change };
}

function node(name: string, change: Partial<NodeSnapshot> = {}, config: Partial<NodeConfig> = {}): CountedNode {
  return { snapshot: snapshot(name, change), config: { stops: [], observe: false, ...config } };
}

function usedUp(limit: string, resetsAtMs: number | null): UsageSnapshot {
  return { limit, resource: 'Credits', amount: 10, used: 9, reserved: 1, resetsAtMs };
}

function stop(name: string, from: number, until: number | null): StopConfig {
  return { name, fromMs: NOW_MS + from, untilMs: until === null ? null : NOW_MS + until, except: [] };
}

const blockage = (path: readonly CountedNode[], models: readonly NodeSnapshot[] = []) => {
  const found = findBlockage(path, models, NOW_MS);
  return found && [found.by, found.untilMs === null ? null : found.untilMs - NOW_MS];
};

test('nothing blocks a node with room on its whole path', () => {
  expect(blockage([node('quota:a/b', { concurrency: 2, inFlight: 1 }), node('account')])).toBeNull();
});

test('of windows used up on the path the one that opens last is named', () => {
  const leaf = node('quota:a/b', { usage: [usedUp('five-hour', NOW_MS + HOUR_MS)] });
  const root = node('account', { usage: [usedUp('weekly', NOW_MS + 24 * HOUR_MS)] });
  expect(blockage([leaf, root])).toEqual(['account/weekly', 24 * HOUR_MS]);
});

test('windows outlast slots, and slots outlast the breaker of one model', () => {
  const full = node('account', { concurrency: 1, inFlight: 1 });
  const open = snapshot('model:glm-5.3', { breaker: 'Open' });
  expect(blockage([full], [open])).toEqual(['account/concurrency', null]);
  expect(blockage([node('account')], [open])).toEqual(['model:glm-5.3/breaker', null]);
  expect(blockage([node('account')], [snapshot('model:a', { breaker: 'HalfOpen' })])).toBeNull();
  const closed = node('quota:a/b', { usage: [usedUp('sliding', null)] });
  expect(blockage([closed, full])).toEqual(['quota:a/b/sliding', null]);
});

test('a person’s stop without end outlasts everything', () => {
  const held = node('quota:a/b', { stopped: true }, { stops: [stop('stop', -1, null)] });
  const root = node('account', { usage: [usedUp('weekly', NOW_MS + 24 * HOUR_MS)] });
  expect(blockage([held, root])).toEqual(['quota:a/b/stop', null]);
});

test('a schedule is named, with its end, while its hours run', () => {
  const stops = [stop('lunch', -1, HOUR_MS), stop('night', -1, 2 * HOUR_MS), stop('later', 1, 9 * HOUR_MS)];
  expect(blockage([node('quota:a/b', {}, { stops })])).toEqual(['quota:a/b/night', 2 * HOUR_MS]);
  expect(blockage([node('quota:a/b', {}, { stops: [stop('over', -2, 0)] })])).toBeNull();
});

test('a node that Redis calls stopped is so, although our clock says otherwise', () => {
  expect(blockage([node('account', { stopped: true })])).toEqual(['account/stop', null]);
});

test('a freeze by the vendor’s word blocks until its end', () => {
  expect(blockage([node('account', { frozenUntilMs: NOW_MS + HOUR_MS })])).toEqual(['account/vendor', HOUR_MS]);
  expect(blockage([node('account', { frozenUntilMs: NOW_MS })])).toBeNull();
});

test('N6 an observed node’s own limits block nothing, its stops do', () => {
  const full = { concurrency: 1, inFlight: 1, usage: [usedUp('weekly', NOW_MS + HOUR_MS)] };
  expect(blockage([node('quota:a/b', full, { observe: true })])).toBeNull();
  const stops = [stop('stop', -1, null)];
  expect(blockage([node('quota:a/b', full, { observe: true, stops })])).toEqual(['quota:a/b/stop', null]);
});
