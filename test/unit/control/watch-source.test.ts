import { expect, test } from 'vitest';
import { backoffMs, compareRevisions } from '#sidecar/control/watch-source.ts';

const revision = (leaseCreatedMs: number, transitions: number, generation: number) => ({
  leaseCreatedMs,
  transitions,
  generation,
});

test('a new leader outranks any write of the one before, a new Lease object any leader before it', () => {
  expect(compareRevisions(revision(5, 2, 1), revision(5, 1, 999))).toBeGreaterThan(0);
  expect(compareRevisions(revision(6, 0, 1), revision(5, 900, 999))).toBeGreaterThan(0);
  expect(compareRevisions(revision(5, 1, 3), revision(5, 1, 4))).toBeLessThan(0);
  expect(compareRevisions(revision(5, 1, 3), revision(5, 1, 3))).toBe(0);
});

test('the back-off doubles up to 30 s and is spread over its upper half', () => {
  expect([0, 1, 2, 3].map((attempt) => backoffMs(attempt, 0))).toEqual([200, 400, 800, 1600]);
  expect(backoffMs(1_000, 0)).toBe(30_000);
  expect(backoffMs(1_000, 0.999)).toBeGreaterThan(15_000);
});
