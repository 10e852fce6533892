import { expect, test } from 'vitest';
import { type ConfigureFacts, planConfigure } from '#operator/controllers/glmaccount/plan.ts';

const nowMs = Date.parse('2026-11-21T10:00:00Z');
const fence = { leaseCreatedMs: 1000, transitions: 3 };
const facts: ConfigureFacts = { wantedHash: 'new', held: null, fence, last: null, nowMs };

function held(configHash: string, transitions: number, generation: number, leaseCreatedMs = 1000) {
  return { configHash, revision: { leaseCreatedMs, transitions, generation } };
}

test('what Redis holds already is not written again', () => {
  expect(planConfigure({ ...facts, held: held('new', 3, 7) })).toEqual({ kind: 'none' });
});

test('a changed tree gets the next generation', () => {
  const step = planConfigure({ ...facts, held: held('old', 3, 7) });
  expect(step).toEqual({ kind: 'configure', revision: { ...fence, generation: 8 } });
});

test('a new leader fences its predecessor off even where nothing changed, and keeps the generation', () => {
  const step = planConfigure({ ...facts, held: held('new', 2, 7) });
  expect(step).toEqual({ kind: 'configure', revision: { ...fence, generation: 7 } });
});

test('a leader that finds a newer one in Redis writes nothing', () => {
  expect(planConfigure({ ...facts, held: held('old', 4, 7) })).toMatchObject({ kind: 'fenced' });
  expect(planConfigure({ ...facts, held: held('old', 0, 7, 2000) })).toMatchObject({ kind: 'fenced' });
});

test('a lease made anew is newer although its transitions are fewer', () => {
  const anew = { leaseCreatedMs: 2000, transitions: 0 };
  expect(planConfigure({ ...facts, fence: anew, held: held('new', 9, 7) })).toMatchObject({ kind: 'configure' });
});

test('a tree that Redis lost comes back under the generation sidecars know', () => {
  const step = planConfigure({ ...facts, last: { hash: 'new', generation: 7 } });
  expect(step).toEqual({ kind: 'configure', revision: { ...fence, generation: 7 } });
});

test('a tree that Redis lost and that changed meanwhile gets the next generation', () => {
  const step = planConfigure({ ...facts, last: { hash: 'old', generation: 7 } });
  expect(step).toEqual({ kind: 'configure', revision: { ...fence, generation: 8 } });
});

test('a tree nobody remembers starts ahead of every generation it may have had', () => {
  const step = planConfigure(facts);
  expect(step).toEqual({ kind: 'configure', revision: { ...fence, generation: nowMs / 1000 } });
});

test('a generation never goes back behind what this leader wrote', () => {
  const step = planConfigure({ ...facts, held: held('old', 2, 5), last: { hash: 'other', generation: 9 } });
  expect(step).toEqual({ kind: 'configure', revision: { ...fence, generation: 10 } });
});
