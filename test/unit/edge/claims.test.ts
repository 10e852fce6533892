import { expect, test } from 'vitest';
import { readClaims } from '#operator/edge/claims.ts';
import type { AppError } from '#sidecar/base/errors.ts';
import { rawToken, tokenFor } from '#test/support/edge/tokens.ts';

const now = Date.now();
const pod = { namespace: 'team-a', pod: { name: 'agent-1', uid: 'u' } };
const later = Math.floor(now / 1000) + 60;

function refusal(token: string | null): AppError | null {
  try {
    readClaims(token, now);
    return null;
  } catch (reason) {
    return reason as AppError;
  }
}

test("a pod's token says which pod it is and when it ends", () => {
  const claims = readClaims(tokenFor({ lifetimeMs: 600_000 }), now);
  expect(claims.pod).toEqual({ namespace: 'team-a', name: 'agent-1', uid: 'uid-agent-1' });
  expect(Math.abs(claims.expiresAtMs - now - 600_000)).toBeLessThan(5_000);
});

test('one audience may stand alone or among others', () => {
  expect(refusal(tokenFor({ audience: 'glmquota' }))).toBeNull();
  expect(refusal(tokenFor({ audience: ['api', 'glmquota'] }))).toBeNull();
});

test.each<[string, string | null, string]>([
  ['no token', null, 'a bearer token is needed'],
  ['an empty token', '', 'is no service account token'],
  ['text', 'hunter2', 'is no service account token'],
  ['two parts', 'a.b', 'is no service account token'],
  ['four parts', 'a.b.c.d', 'is no service account token'],
  ['no JSON inside', `a.${Buffer.from('{').toString('base64url')}.c`, 'is no service account token'],
  ['a token of 100,000 characters', rawToken({ x: 'y'.repeat(100_000) }), 'is no service account token'],
  ['JSON null', rawToken(null), 'is not bound to a pod'],
  ['another audience', tokenFor({ audience: ['https://kubernetes.default.svc'] }), 'is not for audience glmquota'],
  ['no audience', tokenFor({ audience: undefined }), 'is not for audience glmquota'],
  ['an audience that only begins like ours', tokenFor({ audience: 'glmquota-other' }), 'is not for audience glmquota'],
  ['an expired token', tokenFor({ lifetimeMs: -1_000 }), 'has expired'],
  ['no expiry', rawToken({ aud: 'glmquota', 'kubernetes.io': pod }), 'has expired'],
  ['a text as expiry', rawToken({ aud: 'glmquota', exp: 'never', 'kubernetes.io': pod }), 'has expired'],
  [
    'no pod',
    rawToken({ aud: 'glmquota', exp: later, 'kubernetes.io': { namespace: 'team-a' } }),
    'is not bound to a pod',
  ],
  ['no Kubernetes claims', rawToken({ aud: 'glmquota', exp: later }), 'is not bound to a pod'],
  ['an empty uid', tokenFor({ uid: '' }), 'is not bound to a pod'],
  ['a path as name', tokenFor({ pod: '../secrets' }), 'is not bound to a pod'],
  ['a name of 10,000 characters', tokenFor({ pod: 'x'.repeat(10_000) }), 'is no service account token'],
  ['a name of 300 characters', tokenFor({ pod: 'x'.repeat(300) }), 'is not bound to a pod'],
])('%s is refused without asking anybody', (_, token, message) => {
  const error = refusal(token);
  expect(error?.code).toBe('unauthenticated');
  expect(error?.message).toContain(message);
});
