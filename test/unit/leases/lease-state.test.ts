import { expect, test } from 'vitest';
import {
  claimHolds,
  decideStart as decide,
  type Lease,
  leaseOf,
  localDeadlineMs,
  offsets,
  type Sync,
} from '#sidecar/leases/lease-state.ts';
import type { AcquireRequest } from '#sidecar/engine/terms.ts';

const TTL_MS = 15_000;
const request = { id: 'a', maxRuntimeMs: 1000 } as AcquireRequest;

function leaseAt(change: Partial<Lease> = {}): Lease {
  const grant = {
    kind: 'granted',
    id: 'a',
    fence: 1,
    epoch: 1,
    grantedAtMs: 500,
    serverNowMs: 500,
    ttlMs: TTL_MS,
    warnings: [],
  } as const;
  return { ...leaseOf(request, grant, { askedMs: 100, answeredMs: 110 }), ...change };
}

const sync: Sync = { askedAtMs: 100, askedWallMs: 90_100, serverNowMs: 500, epoch: 1 };
const decideStart = (lease: Lease, known: Sync | null, now: ReturnType<typeof at>) =>
  decide(lease, known, now, { isStrict: false, beatMs: 5000 });
const at = (monotonicMs: number, sleptMs = 0) => ({ monotonicMs, wallMs: 90_000 + monotonicMs + sleptMs });

test('a lease starts without asking while its own grant is fresh', () => {
  expect(decideStart(leaseAt(), sync, at(120))).toBe('go');
});

test('the local deadline counts from the send of the last answered call, never from the receipt of the grant', () => {
  const granted400msBefore = leaseAt({ extendedAtMs: 100 });
  expect(localDeadlineMs(granted400msBefore, sync)).toBe(100 - 400 + TTL_MS - 400);
});

test('a lease past its local deadline is claimed first', () => {
  const dispatchedLongAgo = leaseAt({ extendedAtMs: 500 - TTL_MS });
  expect(decideStart(dispatchedLongAgo, sync, at(120))).toBe('claim');
});

test('a lease is claimed first when no call was answered within two beats', () => {
  const pushedJustNow = leaseAt({ extendedAtMs: 500 + 10_000 });
  expect(decideStart(pushedJustNow, sync, at(100 + 10_000))).toBe('go');
  expect(decideStart(pushedJustNow, sync, at(100 + 10_001))).toBe('claim');
});

test('T2 a lease that may end before its next beat is claimed first', () => {
  const left = TTL_MS - 400;
  expect(decideStart(leaseAt(), sync, at(100 + left - 7501))).toBe('go');
  expect(decideStart(leaseAt(), sync, at(100 + left - 7500))).toBe('claim');
});

test('T2 a claim counts from when it was asked for: an answer that comes late, or after a sleep, is none', () => {
  const left = TTL_MS - 400;
  expect(claimHolds(at(100), at(100 + left - 7501), TTL_MS)).toBe(true);
  expect(claimHolds(at(100), at(100 + left - 7500), TTL_MS)).toBe(false);
  expect(claimHolds(at(100), at(110, 60_000), TTL_MS)).toBe(false);
});

test('a lease of an earlier epoch is claimed first', () => {
  expect(decideStart(leaseAt(), { ...sync, epoch: 2 }, at(120))).toBe('claim');
});

test('a machine that slept while its monotonic clock stood still claims first', () => {
  expect(decideStart(leaseAt(), sync, at(120, 300))).toBe('go');
  expect(decideStart(leaseAt(), sync, at(120, 60_000))).toBe('claim');
});

test('a lost lease does not start, nor does one start twice', () => {
  expect(decideStart(leaseAt({ lost: true }), sync, at(120))).toBe('gone');
  expect(decideStart(leaseAt({ sentAtMs: 115 }), sync, at(120))).toBe('gone');
});

test('the send is dated as early and the first byte as late as they can have been', () => {
  expect(offsets(leaseAt({ sentAtMs: 112, firstByteAtMs: 400 }))).toEqual({ sentAfterMs: 2, firstByteAfterMs: 300 });
  expect(offsets(leaseAt())).toEqual({ sentAfterMs: null, firstByteAfterMs: null });
});
