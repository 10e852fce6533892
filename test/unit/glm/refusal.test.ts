import { describe, expect, test } from 'vitest';
import { AppError, CODES } from '#sidecar/base/errors.ts';
import { DENY_REASONS } from '#sidecar/engine/terms.ts';
import { destinationOf } from '#sidecar/glm/paths.ts';
import { refuseDenial, refuseDestination, refuseError, refuseUnavailable } from '#sidecar/glm/refusal.ts';
import { SURFACES } from '#sidecar/glm/terms.ts';
import type { Denial } from '#sidecar/leases/terms.ts';

const NOW = Date.parse('2026-11-21T10:00:00Z');
const denial: Denial = {
  kind: 'denied',
  reason: 'Window',
  node: 'quota:glm/team-a',
  limit: 'five-hour',
  used: 990,
  amount: 1000,
  retryAtMs: NOW + 3_600_000,
};

const json = (body: string) => JSON.parse(body) as Record<string, never>;

describe('a denial', () => {
  test('says by which limit and until when', () => {
    const { status, headers, body } = refuseDenial('OpenAI', denial, NOW);
    expect(status).toBe(429);
    expect(headers).toMatchObject({
      'x-glmquota-denied-by': 'quota:glm/team-a/five-hour',
      'x-glmquota-retry-at': '2026-11-21T11:00:00.000Z',
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body).toString(),
    });
    expect(json(body)).toEqual({
      error: {
        message:
          'glmquota: limit five-hour of quota:glm/team-a is used up (990 of 1000); it may fit again at 2026-11-21T11:00:00.000Z',
        type: 'rate_limit_error',
        param: null,
        code: 'glmquota_window',
      },
    });
  });

  test('on the Anthropic surface has that surface’s shape', () => {
    expect(json(refuseDenial('Anthropic', denial, NOW).body)).toMatchObject({
      type: 'error',
      error: { type: 'rate_limit_error' },
    });
  });

  test('on the Responses surface has the shape of the OpenAI one', () => {
    expect(refuseDenial('Responses', denial, NOW).body).toBe(refuseDenial('OpenAI', denial, NOW).body);
  });

  test.each([
    [1, '1'],
    [1500, '2'],
    [60_000, '60'],
    [-5000, '1'],
  ])('%i ms before its end asks to come back in %s s', (ms, seconds) => {
    const { headers } = refuseDenial('Anthropic', { ...denial, retryAtMs: NOW + ms }, NOW);
    expect(headers['retry-after']).toBe(seconds);
    expect(headers).not.toHaveProperty('x-should-retry');
    expect(headers).not.toHaveProperty('anthropic-ratelimit-unified-status');
  });

  test('far from its end tells SDKs to stop instead of sleeping', () => {
    const far = { ...denial, retryAtMs: NOW + 60_001 };
    const openAi = refuseDenial('OpenAI', far, NOW).headers;
    expect(openAi).toMatchObject({ 'x-should-retry': 'false' });
    expect(openAi).not.toHaveProperty('retry-after');
    expect(openAi).not.toHaveProperty('anthropic-ratelimit-unified-status');
    expect(refuseDenial('Anthropic', far, NOW).headers).toMatchObject({
      'x-should-retry': 'false',
      'anthropic-ratelimit-unified-status': 'rejected',
    });
  });

  test.each([
    ['Concurrency', true],
    ['PerAgent', true],
    ['Rate', true],
    ['Waiting', true],
    ['QueueFull', true],
    ['Breaker', true],
    ['Learning', true],
    ['Window', false],
    ['Frozen', false],
    ['Stopped', false],
    ['PerCall', false],
    ['Draining', false],
    ['Gone', false],
  ] as const)('for %s without a known end: soon again %s', (reason, soon) => {
    const { headers } = refuseDenial('OpenAI', { ...denial, reason, used: 0, retryAtMs: null }, NOW);
    expect('retry-after' in headers).toBe(soon);
    expect(headers['x-should-retry']).toBe(soon ? undefined : 'false');
    expect(headers).not.toHaveProperty('x-glmquota-retry-at');
  });

  test.each([999, 1000])('for room that calls in flight hold (%i of 1000) asks to come back soon', (used) => {
    const { headers, body } = refuseDenial('Anthropic', { ...denial, used, retryAtMs: null }, NOW);
    expect(headers['retry-after']).toBe('2');
    expect(headers).not.toHaveProperty('x-should-retry');
    expect(headers).not.toHaveProperty('anthropic-ratelimit-unified-status');
    expect(body).toContain(`hold the room of limit five-hour of quota:glm/team-a (${used} of 1000 taken)`);
  });

  test('of a limit of nothing is final', () => {
    const { headers } = refuseDenial('OpenAI', { ...denial, used: 9, amount: 0, retryAtMs: null }, NOW);
    expect(headers['x-should-retry']).toBe('false');
  });

  test.each([
    ['Learning', 503],
    ['Draining', 503],
    ['Gone', 403],
    ['QueueFull', 429],
  ] as const)('for %s has status %i, and only a 429 looks like a used-up plan', (reason, status) => {
    const refusal = refuseDenial('Anthropic', { ...denial, reason, retryAtMs: NOW + 3_600_000 }, NOW);
    expect(refusal.status).toBe(status);
    expect(refusal.headers['anthropic-ratelimit-unified-status']).toBe(status === 429 ? 'rejected' : undefined);
  });

  test.each(DENY_REASONS)('for %s says so in a sentence of its own', (reason) => {
    const texts = DENY_REASONS.map((each) => refuseDenial('OpenAI', { ...denial, reason: each }, NOW).body);
    const { body } = refuseDenial('OpenAI', { ...denial, reason }, NOW);
    expect(texts.filter((text) => text === body)).toHaveLength(1);
  });

  test('for a pause does not blame the rate', () => {
    expect(refuseDenial('OpenAI', { ...denial, reason: 'Rate', limit: 'pause' }, NOW).body).toContain('pauses');
  });

  test('cannot break the header of a strange name', () => {
    const { headers } = refuseDenial('OpenAI', { ...denial, node: 'a\r\nx: y', limit: 'ü' }, NOW);
    expect(headers['x-glmquota-denied-by']).toBe('a??x: y/?');
  });
});

test('an absent store is 503 and worth another try', () => {
  expect(refuseUnavailable('OpenAI', 'Redis cannot be reached')).toMatchObject({
    status: 503,
    headers: { 'retry-after': '1' },
  });
});

describe('a path', () => {
  test('of the other billing is 403 and names the right one', () => {
    const destination = destinationOf('POST', '/api/paas/v4/chat/completions', 'CodingPlan');
    if (destination.kind !== 'wrongBilling') throw new Error(destination.kind);
    const { status, headers, body } = refuseDestination(destination);
    expect(status).toBe(403);
    expect(headers).toMatchObject({ 'x-should-retry': 'false', 'x-glmquota-denied-by': 'billing' });
    expect(body).toContain('/api/coding/paas/v4/chat/completions');
  });

  test('that is unknown is 404 in the shape of its surface', () => {
    const destination = destinationOf('POST', '/api/anthropic/v2', 'CodingPlan');
    if (destination.kind !== 'unknown') throw new Error(destination.kind);
    const { status, body } = refuseDestination(destination);
    expect(status).toBe(404);
    expect(json(body)).toMatchObject({ type: 'error', error: { type: 'not_found_error' } });
  });
});

describe('an error of ours', () => {
  test.each(CODES.flatMap((code) => SURFACES.map((surface) => [code, surface] as const)))(
    '%s has a status and a body on the %s surface',
    (code, surface) => {
      const { status, body } = refuseError(surface, new AppError(code, 'because'));
      expect(status).toBeGreaterThanOrEqual(400);
      expect(json(body)).toHaveProperty('error.type');
    },
  );

  test('that is internal does not tell its message', () => {
    expect(refuseError('OpenAI', new AppError('internal', 'secret path')).body).not.toContain('secret');
  });

  test.each([
    ['tooLarge', 413, 'request_too_large'],
    ['invalid', 400, 'invalid_request_error'],
    ['unavailable', 503, 'overloaded_error'],
  ] as const)('%s is %i %s on the Anthropic surface', (code, status, type) => {
    const refusal = refuseError('Anthropic', new AppError(code, 'because'));
    expect(refusal.status).toBe(status);
    expect(json(refusal.body)).toMatchObject({ error: { type, message: 'because' } });
  });
});
