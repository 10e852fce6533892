import { expect, test } from 'vitest';
import type { NodeStatus } from '#operator/api/v1alpha1/status.ts';
import { decideNodeWrite } from '#operator/controllers/node-status/damping.ts';
import { LimitChanges } from '#operator/controllers/node-status/limit-changes.ts';
import { type NodeFacts, planNodeStatus } from '#operator/controllers/node-status/plan.ts';
import type { SyncState } from '#operator/controllers/node-status/sync-state.ts';
import type { NodeVerdict } from '#operator/trees/terms.ts';
import type { NodeSnapshot, TreeSnapshot, UsageSnapshot } from '#sidecar/engine/terms.ts';
import { PLAIN_NODE } from '#test/support/engine.ts';

const nowMs = Date.parse('2026-11-21T10:00:00Z');
const good: NodeVerdict = { active: true, reason: 'QuotaActive', message: 'limits are in force', blockedBy: null };

function node(name: string, change: Partial<NodeSnapshot> = {}): NodeSnapshot {
  return {
    name,
    inFlight: 0,
    concurrency: null,
    stopped: false,
    queued: 0,
    frozenUntilMs: null,
    breaker: 'Closed',
    rateWaitUs: 0,
    oldestWaiterMs: null,
    usage: [],
    ...change,
  };
}

function usage(change: Partial<UsageSnapshot> = {}): UsageSnapshot {
  return {
    limit: 'five-hour',
    resource: 'Credits',
    amount: 10_000_000,
    used: 0,
    reserved: 0,
    resetsAtMs: null,
    ...change,
  };
}

function tree(nodes: readonly NodeSnapshot[]): TreeSnapshot {
  const revision = { leaseCreatedMs: 1000, transitions: 2, generation: 7 };
  return { key: 'tree', epoch: 1, revision, configHash: 'hash', serverNowMs: nowMs, nodes, leases: 0 };
}

function facts(nodes: readonly NodeSnapshot[], change: Partial<NodeFacts> = {}): NodeFacts {
  const sync: SyncState = { kind: 'applied', snapshot: tree(nodes) };
  const path = ['quota:ns/team', 'account'];
  const own = { verdict: good, overcommitted: null, tree: null, reset: null, plannedMove: null, lastChange: null };
  return { generation: 4, conditions: [], effective: [], path, sync, ...own, ...change };
}

function condition(status: NodeStatus, type: string): string {
  const found = status.conditions.find((each) => each.type === type);
  return `${found?.status} ${found?.reason}`;
}

test('a node in force is Ready, Active and Synced', () => {
  const status = planNodeStatus(facts([node('account'), node('quota:ns/team')]), nowMs);
  expect(status.conditions.map(({ type, status: value }) => `${type}=${value}`)).toEqual([
    'Ready=True',
    'Active=True',
    'Synced=True',
    'Overcommitted=False',
  ]);
  expect(status.conditions.every((each) => each.observedGeneration === 4)).toBe(true);
  expect(status.revision).toBe('1000.2.7');
});

test('Ready repeats the reason that holds it back', () => {
  const verdict: NodeVerdict = { active: false, reason: 'UnknownPlan', message: 'no such plan', blockedBy: null };
  const bad = planNodeStatus(facts([node('quota:ns/team')], { verdict }), nowMs);
  expect([condition(bad, 'Ready'), condition(bad, 'Synced')]).toEqual(['False UnknownPlan', 'True Applied']);
  const away = planNodeStatus(facts([], { sync: { kind: 'away', message: 'refused', snapshot: null } }), nowMs);
  expect([condition(away, 'Ready'), condition(away, 'Active')]).toEqual(['False StoreUnavailable', 'True QuotaActive']);
  const taken = planNodeStatus(facts([], { sync: { kind: 'conflict', account: 'glm/other' } }), nowMs);
  expect(condition(taken, 'Ready')).toBe('False TreeKeyConflict');
});

test('a transition time moves only with the status', () => {
  const first = planNodeStatus(facts([node('quota:ns/team')]), nowMs);
  const later = planNodeStatus(facts([node('quota:ns/team')], { conditions: first.conditions }), nowMs + 60_000);
  expect(later.conditions).toEqual(first.conditions);
});

test('amounts read as people wrote them and percentages are floored', () => {
  const team = node('quota:ns/team', { usage: [usage({ used: 2_500_000, reserved: 499_999 })] });
  const status = planNodeStatus(facts([node('account'), team]), nowMs);
  expect(status.usage).toEqual([
    { limit: 'five-hour', resource: 'Credits', amount: '10', used: '2.5', reserved: '0.499999', percent: 29 },
  ]);
  expect(status.usedPercent).toBe(29);
});

test('what blocks is named with its end: a hold by the clock as the tree has it', () => {
  const stops = [{ name: 'night', fromMs: nowMs - 1, untilMs: nowMs + 3_600_000, except: [] }];
  const nodes = [node('account'), node('quota:ns/team', { stopped: true })];
  const config = { key: 'tree', account: { namespace: 'ns', name: 'max', uid: 'u' } };
  const held = { ...config, nodes: [{ name: 'quota:ns/team', parent: 'account', ...PLAIN_NODE, stops }] };
  const status = planNodeStatus(facts(nodes, { tree: held }), nowMs);
  expect([status.blockedBy, status.until]).toEqual(['quota:ns/team/night', '2026-11-21T11:00:00Z']);
});

test('an account shows the models with calls in flight or waiting, and those whose breaker is not closed', () => {
  const nodes = [
    node('account', { inFlight: 2, concurrency: 4, queued: 3 }),
    node('model:a', { inFlight: 2, concurrency: 2 }),
    node('model:b', { queued: 3, concurrency: 1 }),
    node('model:c', { breaker: 'HalfOpen', concurrency: 1 }),
    node('model:other'),
  ];
  const status = planNodeStatus(facts(nodes, { path: ['account'] }), nowMs);
  expect(status.concurrency).toEqual({
    limit: 4,
    inFlight: 2,
    queued: 3,
    models: [
      { name: 'a', limit: 2, inFlight: 2 },
      { name: 'b', limit: 1, inFlight: 0, queued: 3 },
      { name: 'c', limit: 1, inFlight: 0, breaker: 'HalfOpen' },
    ],
  });
});

const used = (amount: number): NodeStatus =>
  planNodeStatus(
    facts([node('account'), node('quota:ns/team', { usage: [usage({ used: amount * 100_000 })] })]),
    nowMs,
  );

test('an unchanged status is never written', () => {
  expect(decideNodeWrite(used(40), used(40), Number.POSITIVE_INFINITY)).toEqual({ kind: 'none' });
});

test('a new revision alone is no reason to write', () => {
  const wanted = { ...used(40), revision: '1000.2.8' };
  expect(decideNodeWrite(used(40), wanted, Number.POSITIVE_INFINITY)).toEqual({ kind: 'none' });
});

test('an unchanged status of an object in no tree is never written', () => {
  const unplaced = planNodeStatus(facts([], { sync: { kind: 'away', message: 'refused', snapshot: null } }), nowMs);
  expect(unplaced.revision).toBeUndefined();
  const { revision: _none, ...written } = unplaced;
  expect(decideNodeWrite(written, unplaced, Number.POSITIVE_INFINITY)).toEqual({ kind: 'none' });
});

test('a turned condition is written at once', () => {
  const stopped: NodeVerdict = { active: false, reason: 'Stopped', message: 'held', blockedBy: 'quota:ns/team' };
  const wanted = planNodeStatus(facts([node('quota:ns/team')], { verdict: stopped }), nowMs);
  expect(decideNodeWrite(used(40), wanted, 0)).toEqual({ kind: 'now' });
});

test('words of a message that change are written at most every ten seconds', () => {
  const away = (message: string): NodeStatus =>
    planNodeStatus(facts([], { sync: { kind: 'away', message, snapshot: null } }), nowMs);
  expect(decideNodeWrite(away('refused'), away('timed out'), 1000)).toEqual({ kind: 'later', afterMs: 9000 });
});

test('use that grew by five percent is written at most every ten seconds', () => {
  expect(decideNodeWrite(used(40), used(45), 4000)).toEqual({ kind: 'later', afterMs: 6000 });
  expect(decideNodeWrite(used(40), used(45), 10_000)).toEqual({ kind: 'now' });
});

test('crossing a threshold counts however small the step', () => {
  expect(decideNodeWrite(used(79), used(80), 10_000)).toEqual({ kind: 'now' });
  expect(decideNodeWrite(used(99), used(100), 10_000)).toEqual({ kind: 'now' });
  expect(decideNodeWrite(used(81), used(82), 10_000)).toEqual({ kind: 'later', afterMs: 50_000 });
});

test('a node’s own thresholds count in place of the usual ones', () => {
  expect(decideNodeWrite(used(49), used(50), 10_000, [50])).toEqual({ kind: 'now' });
  expect(decideNodeWrite(used(79), used(80), 10_000, [50])).toEqual({ kind: 'later', afterMs: 50_000 });
  expect(decideNodeWrite(used(99), used(100), 10_000, [])).toEqual({ kind: 'now' });
});

test('that somebody begins to wait is written within ten seconds, that one more does is not', () => {
  const waiting = (queued: number): NodeStatus => planNodeStatus(facts([node('quota:ns/team', { queued })]), nowMs);
  expect(decideNodeWrite(waiting(0), waiting(1), 4000)).toEqual({ kind: 'later', afterMs: 6000 });
  expect(decideNodeWrite(waiting(1), waiting(2), 10_000)).toEqual({ kind: 'later', afterMs: 50_000 });
});

test('that a hold by the clock begins is written within ten seconds', () => {
  const until = { ...used(40), blockedBy: 'account/night', until: '2026-11-22T05:00:00Z' };
  expect(decideNodeWrite(used(40), until, 10_000)).toEqual({ kind: 'now' });
});

test('what became of a reset is written at once', () => {
  const reset = { request: 'five-hour@2026-11-21T10:00:00Z', result: 'Done', at: '2026-11-21T10:00:01Z' } as const;
  expect(decideNodeWrite(used(40), { ...used(40), reset }, 0)).toEqual({ kind: 'now' });
});

test('small differences are written in the end', () => {
  expect(decideNodeWrite(used(41), used(42), 60_000)).toEqual({ kind: 'now' });
});

test('status tells since when the longest wait lasts, and when the limit last changed', () => {
  const team = node('quota:ns/team', { concurrency: 2, queued: 3, oldestWaiterMs: nowMs - 42_500 });
  const lastChange = '2026-11-21T09:00:00Z';
  expect(planNodeStatus(facts([node('account'), team], { lastChange }), nowMs).concurrency).toEqual({
    limit: 2,
    inFlight: 0,
    queued: 3,
    oldestWait: '2026-11-21T09:59:17Z',
    lastChange,
  });
});

test('a limit has changed when it is another than the one last seen, by this process or in the status', () => {
  const changes = new LimitChanges();
  const at = (minute: number) => nowMs + minute * 60_000;
  expect(changes.look('uid-1', 4, undefined, at(0))).toBeNull();
  expect(changes.look('uid-1', 4, {}, at(1))).toBeNull();
  expect(changes.look('uid-1', 3, {}, at(2))).toBe('2026-11-21T10:02:00Z');
  expect(changes.look('uid-1', undefined, {}, at(3))).toBe('2026-11-21T10:02:00Z');
  expect(changes.look('uid-1', 3, {}, at(4))).toBe('2026-11-21T10:02:00Z');
  expect(changes.look('uid-1', null, {}, at(5))).toBe('2026-11-21T10:05:00Z');
  const written = { concurrency: { limit: 3, inFlight: 0, queued: 0, lastChange: '2026-11-21T08:00:00Z' } };
  const [same, other] = [new LimitChanges(), new LimitChanges()];
  expect(same.look('uid-1', 3, written, at(6))).toBe('2026-11-21T08:00:00Z');
  expect(other.look('uid-1', 5, written, at(6))).toBe('2026-11-21T10:06:00Z');
});
