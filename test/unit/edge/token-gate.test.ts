import { expect, test } from 'vitest';
import { readClaims } from '#operator/edge/claims.ts';
import { TokenGate } from '#operator/edge/token-gate.ts';
import type { ReviewedPod, TokenReviewer } from '#operator/edge/terms.ts';
import { AppError } from '#sidecar/base/errors.ts';
import { tokenFor, type TokenParts } from '#test/support/edge/tokens.ts';
import { ManualClock, settled } from '#test/unit/leases/fixtures.ts';

const never = new AbortController().signal;
const POD: ReviewedPod = { namespace: 'team-a', name: 'agent-1', uid: 'uid-agent-1', serviceAccount: 'default' };

function gate(answer: () => ReviewedPod | null = () => POD) {
  const clock = new ManualClock();
  const startMs = clock.nowMs();
  const asked: string[] = [];
  const reviewer: TokenReviewer = {
    review: async (token) => {
      asked.push(token);
      return answer();
    },
  };
  const tokens = new TokenGate(clock, reviewer);
  const admit = (parts: TokenParts = {}) => {
    const token = tokenFor({ expiresAtMs: startMs + 3_600_000, ...parts });
    return tokens.admit(token, readClaims(token, 0), never);
  };
  return { admit, asked, clock };
}

test('a good token is reviewed once a minute, whoever asks how often', async () => {
  const { admit, asked, clock } = gate();
  expect(await Promise.all([admit(), admit(), admit()])).toEqual([POD, POD, POD]);
  await clock.advance(59_000);
  await admit();
  expect(asked).toHaveLength(1);
  await clock.advance(2_000);
  await admit();
  expect(asked).toHaveLength(2);
});

test('a refused token is not reviewed again for a minute', async () => {
  const { admit, asked, clock } = gate(() => null);
  for (let i = 0; i < 100; i++) await expect(admit()).rejects.toMatchObject({ code: 'unauthenticated' });
  expect(asked).toHaveLength(1);
  await clock.advance(61_000);
  await expect(admit()).rejects.toMatchObject({ code: 'unauthenticated' });
  expect(asked).toHaveLength(2);
});

test('a failed review is not remembered', async () => {
  let down = true;
  const { admit, asked } = gate(() => {
    if (down) throw new AppError('unavailable', 'the API server is away');
    return POD;
  });
  await expect(admit()).rejects.toMatchObject({ code: 'unavailable' });
  down = false;
  expect(await admit()).toBe(POD);
  expect(asked).toHaveLength(2);
});

test('a token that ends is not remembered longer than it lasts', async () => {
  const { admit, asked, clock } = gate();
  const expiresAtMs = clock.nowMs() + 10_000;
  await admit({ expiresAtMs });
  await clock.advance(11_000);
  await admit({ expiresAtMs });
  expect(asked).toHaveLength(2);
});

test('at most 20 reviews a second go to the API server; who would wait too long is refused', async () => {
  const { admit, asked, clock } = gate();
  const outcomes: string[] = [];
  for (let i = 0; i < 400; i++) {
    admit({ pod: `agent-${i}`, uid: `uid-${i}` }).then(
      () => outcomes.push('admitted'),
      (error: AppError) => outcomes.push(error.code),
    );
  }
  await settled();
  expect(asked).toHaveLength(20);
  expect(outcomes.filter((outcome) => outcome === 'exhausted').length).toBeGreaterThan(150);
  for (let second = 1; second <= 10; second++) {
    const before = asked.length;
    await clock.advance(1_000);
    expect(asked.length - before).toBeLessThanOrEqual(20);
  }
  expect(asked.length).toBeGreaterThan(200);
});

test("tokens made up in one pod spend that pod's reviews only", async () => {
  const { admit, asked } = gate(() => null);
  const attempts = Array.from({ length: 500 }, (_, i) =>
    admit({ id: `made-up-${i}` }).catch((error: AppError) => error.code),
  );
  const codes = await Promise.all(attempts);
  expect(asked).toHaveLength(3);
  expect(codes.filter((code) => code === 'exhausted')).toHaveLength(497);
  await expect(admit({ pod: 'agent-2', uid: 'uid-agent-2' })).rejects.toMatchObject({ code: 'unauthenticated' });
  expect(asked).toHaveLength(4);
});
